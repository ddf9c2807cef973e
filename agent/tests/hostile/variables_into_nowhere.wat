;; trapped: Pointer out of bounds: Region { start: 4294967295, len: 15 }
(func (export "_start") 
    (drop (call $environ_get (i32.const 0) (i32.const -1))))

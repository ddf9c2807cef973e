;; trapped: Pointer out of bounds: Region { start: 4294967292, len: 4 }
(func (export "_start") 
    (drop (call $args_get (i32.const -4) (i32.const 0))))

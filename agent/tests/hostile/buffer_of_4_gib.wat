;; trapped: Pointer out of bounds: Region { start: 0, len: 4294967295 }
(func (export "_start") 
    (i32.store (i32.const 2052) (i32.const -1))
    (drop (call $fd_read (i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 8))))

;; trapped: Pointer out of bounds: Region { start: 4294967280, len: 64 }
(func (export "_start") 
    (i32.store (i32.const 2048) (i32.const -16))
    (i32.store (i32.const 2052) (i32.const 64))
    (drop (call $fd_write (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 8))))

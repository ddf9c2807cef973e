;; trapped: Pointer not aligned to 4: Region { start: 4097, len: 4 }
(func (export "_start") 
    (drop (call $fd_write (i32.const 1) (i32.const 4097) (i32.const 1) (i32.const 8))))

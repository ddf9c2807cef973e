;; trapped: Pointer not aligned to 4: Region { start: 4097, len: 4 }
(func (export "_start") 
    (drop (call $args_get (i32.const 4097) (i32.const 8192))))

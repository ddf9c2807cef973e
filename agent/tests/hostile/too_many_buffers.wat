;; succeeded
(func (export "_start") 
    (call $is (call $fd_write (i32.const 1) (i32.const 4096) (i32.const 1025) (i32.const 8))
        (i32.const 28))
    (call $is (call $fd_read (i32.const 0) (i32.const 4096) (i32.const -1) (i32.const 8))
        (i32.const 28)))

;; succeeded
(func (export "_start") 
    (call $is (call $write (i32.const 0) (i32.const 1024) (i32.const 5))
        (i32.const 8))
    (call $is (call $fd_read (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))
        (i32.const 8)))

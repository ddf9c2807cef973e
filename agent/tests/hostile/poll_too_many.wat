;; succeeded
(func (export "_start") 
    (call $is (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 4097) (i32.const 8))
        (i32.const 28))
    (call $is (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0x20000000) (i32.const 8))
        (i32.const 28))
    (call $is (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 8))
        (i32.const 28)))

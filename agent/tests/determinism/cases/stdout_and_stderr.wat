;; Both streams, in pieces and in turn.
(func (export "_start")
    (call $is (call $write (i32.const 1) (i32.const 1024) (i32.const 6)) (i32.const 0))
    (call $is (call $write (i32.const 2) (i32.const 1040) (i32.const 5)) (i32.const 0))
    (call $is (call $write (i32.const 1) (i32.const 1056) (i32.const 5)) (i32.const 0))
    (call $is (call $write (i32.const 2) (i32.const 1088) (i32.const 4)) (i32.const 0)))

;; Random numbers follow from what the task is: in small draws, in a large one, and in none.
(func (export "_start")
    (call $is (call $random_get (i32.const 8192) (i32.const 16)) (i32.const 0))
    (call $is (call $random_get (i32.const 8208) (i32.const 3)) (i32.const 0))
    (call $is (call $random_get (i32.const 8211) (i32.const 0)) (i32.const 0))
    (call $is (call $random_get (i32.const 8211) (i32.const 13)) (i32.const 0))
    (call $dump (i32.const 8192) (i32.const 8224))
    (call $is (call $random_get (i32.const 8192) (i32.const 100000)) (i32.const 0))
    (call $dump (i32.const 108000) (i32.const 108064)) (call $end))

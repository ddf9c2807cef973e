;; More output than fits in a result.
(func (export "_start") (local $n i32)
    (loop $l
        (call $is (call $random_get (i32.const 8192) (i32.const 10000)) (i32.const 0))
        (call $is (call $write (i32.const 1) (i32.const 8192) (i32.const 10000)) (i32.const 0))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9)))))

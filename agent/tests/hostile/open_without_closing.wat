;; failed with exit code 1020
(func (export "_start") (local $n i32)
    (loop $again
        (if (i32.lt_s (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)) (i32.const 0))
            (then (call $proc_exit (local.get $n))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $again)))

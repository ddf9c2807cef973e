;; failed with exit code 51
;; limits: fuel=5000000000
(func (export "_start") (local $n i32) (local $errno i32)
    (drop (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)))
    (i32.store (i32.const 4096) (i32.const 0x2f706d74))
    (loop $again
        (call $digits (local.get $n) (i32.const 4100))
        (if (local.tee $errno (call $path_link (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 5)
            (i32.const 3) (i32.const 4096) (i32.const 12)))
            (then (call $proc_exit (local.get $errno))))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 200000)))))

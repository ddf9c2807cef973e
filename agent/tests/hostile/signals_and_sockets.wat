;; succeeded
(func (export "_start") (local $n i32)
    (loop $again
        (call $is (call $proc_raise (local.get $n))
        (i32.const 58))
        (drop (call $sock_accept (local.get $n) (i32.const 0) (i32.const 8)))
        (drop (call $sock_recv (local.get $n) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 12)))
        (drop (call $sock_send (local.get $n) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 8)))
        (drop (call $sock_shutdown (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 31)))))

;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") (local $n i32)
    (loop $again
        (drop (call $fd_close (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66))))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 1000000)))))

;; succeeded
;; limits: fuel=5000000000
(func (export "_start") (local $n i32) (local $fd i32)
    (i32.store (i32.const 4096) (i32.const 0x2f706d74))
    (loop $again
        (call $digits (local.get $n) (i32.const 4100))
        (local.set $fd (call $open (i32.const 4096) (i32.const 12) (i32.const 1) (i64.const 66)))
        (call $is (call $write (local.get $fd) (i32.const 8192) (i32.const 65536)) (i32.const 0))
        (call $is (call $fd_filestat_set_size (local.get $fd) (i64.const 1)) (i32.const 0))
        (drop (call $fd_close (local.get $fd)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 2000)))))

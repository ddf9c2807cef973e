;; output too large: wrote 1,500,000 of 1,048,576 bytes
;; limits: fuel=5000000000
(func (export "_start") (local $n i32)
    (drop (call $fd_filestat_set_size (call $open (i32.const 1056) (i32.const 5) (i32.const 1) (i64.const 66)) (i64.const 500000)))
    (i32.store (i32.const 4096) (i32.const 0x2f74756f))
    (loop $again
        (call $digits (local.get $n) (i32.const 4100))
        (call $is (call $path_link (i32.const 3) (i32.const 0) (i32.const 1056) (i32.const 5)
            (i32.const 3) (i32.const 4096) (i32.const 12)) (i32.const 0))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 10000)))))

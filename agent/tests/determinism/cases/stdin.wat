;; Stdin in pieces, to its end, and where it is then.
(func (export "_start")
    (i32.store (i32.const 9000) (i32.const 8192)) (i32.store (i32.const 9004) (i32.const 5))
    (i32.store (i32.const 9008) (i32.const 8200)) (i32.store (i32.const 9012) (i32.const 3))
    (loop $l
        (call $is (call $fd_read (i32.const 0) (i32.const 9000) (i32.const 2) (i32.const 9016)) (i32.const 0))
        (call $tell32 (i32.load (i32.const 9016))) (call $dump (i32.const 8192) (i32.const 8208))
        (br_if $l (i32.load (i32.const 9016))))
    (call $tell32 (call $fd_seek (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 9024)))
    (call $tell32 (call $fd_fdstat_get (i32.const 0) (i32.const 9032))) (call $dump (i32.const 9032) (i32.const 9056))
    (call $end))

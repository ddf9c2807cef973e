;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") (local $at i64)
    (drop (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)))
    (loop $again
        (drop (call $fd_pwrite (i32.const 4) (i32.const 16) (i32.const 1)
            (i64.rem_u (local.tee $at (i64.add (local.get $at) (i64.const 77777))) (i64.const 900000)) (i32.const 8)))
        (i32.store (i32.const 20) (i32.const 65536))
        (br $again)))

;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") (local $at i64)
    (loop $again
        (call $is (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 1000) (local.get $at) (i32.const 8)) (i32.const 0))
        (local.set $at (i64.sub (local.get $at) (i64.const 1)))
        (call $is (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 1000) (i64.const -1) (i32.const 8)) (i32.const 0))
        (br $again)))

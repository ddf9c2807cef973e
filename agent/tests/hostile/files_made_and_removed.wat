;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") (local $fd i32)
    (drop (call $write (call $open (i32.const 1040) (i32.const 5) (i32.const 1) (i64.const 66)) (i32.const 1024) (i32.const 1)))
    (loop $again
        (local.set $fd (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)))
        (call $is (call $write (local.get $fd) (i32.const 1024) (i32.const 1)) (i32.const 0))
        (drop (call $fd_close (local.get $fd)))
        (call $is (call $path_unlink_file (i32.const 3) (i32.const 1024) (i32.const 5)) (i32.const 0))
        (br $again)))

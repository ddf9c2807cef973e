;; out of fuel: used 1,000,000,000 of 1,000,000,000
;; limits: fuel=1000000000
(func (export "_start") (local $n i32) (local $dir i32)
    (local.set $dir (call $open (i32.const 1104) (i32.const 3) (i32.const 2) (i64.const 0)))
    (loop $again
        (call $is (call $path_create_directory (local.get $dir) (i32.const 1136) (i32.const 1)) (i32.const 0))
        (call $is (call $path_open (local.get $dir) (i32.const 0) (i32.const 1136) (i32.const 1)
            (i32.const 2) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 8)) (i32.const 0))
        (drop (call $fd_close (local.get $dir)))
        (local.set $dir (i32.load (i32.const 8)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 10000))))
    (call $is (call $path_create_directory (local.get $dir) (i32.const 1136) (i32.const 1))
        (i32.const 0))
    (loop $move
        (call $is (call $path_rename (local.get $dir) (i32.const 1136) (i32.const 1)
            (local.get $dir) (i32.const 1152) (i32.const 1)) (i32.const 0))
        (call $is (call $path_rename (local.get $dir) (i32.const 1152) (i32.const 1)
            (local.get $dir) (i32.const 1136) (i32.const 1)) (i32.const 0))
        (br $move)))

;; succeeded
(func (export "_start") (local $n i32)
    (loop $again
        (drop (call $fd_close (local.get $n)))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 8))))
    (call $is (call $write (i32.const 1) (i32.const 1024) (i32.const 5))
        (i32.const 8))
    (call $is (call $path_create_directory (i32.const 3) (i32.const 1024) (i32.const 5))
        (i32.const 8)))

;; succeeded
(func (export "_start") (local $n i32) (local $dir i32) (local $cookie i64)
    (i32.store (i32.const 4096) (i32.const 0x2f706d74))
    (loop $again
        (call $digits (local.get $n) (i32.const 4100))
        (call $is (call $path_create_directory (i32.const 3) (i32.const 4096) (i32.const 12)) (i32.const 0))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 100))))
    (local.set $dir (call $open (i32.const 1104) (i32.const 3) (i32.const 2) (i64.const 0)))
    (local.set $cookie (i64.const 2))
    ;; One entry of 24 + 8 bytes at a time, removed before the next is asked for.
    (loop $next
        (call $is (call $fd_readdir (local.get $dir) (i32.const 8192) (i32.const 32)
            (local.get $cookie) (i32.const 8)) (i32.const 0))
        (if (i32.load (i32.const 8)) (then
            (local.set $cookie (i64.load (i32.const 8192)))
            (call $is (call $path_remove_directory (local.get $dir) (i32.const 8216) (i32.const 8))
                (i32.const 0))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br $next))))
    (call $is (local.get $n) (i32.const 0)))

;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") (local $n i32)
    (memory.fill (i32.const 4096) (i32.const 46) (i32.const 4095))
    (loop $path
        (i32.store (i32.add (i32.const 4096) (local.get $n)) (i32.const 0x2f2e2f2e))
        (i32.store16 (i32.add (i32.const 4096) (local.get $n)) (i32.const 0x2f2e))
        (br_if $path (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 2))) (i32.const 4088))))
    (i32.store8 (i32.const 8184) (i32.const 98))
    (call $is (call $path_symlink (i32.const 4096) (i32.const 4089) (i32.const 3) (i32.const 1024) (i32.const 5)) (i32.const 0))
    (call $is (call $path_symlink (i32.const 4096) (i32.const 4089) (i32.const 3) (i32.const 1040) (i32.const 5)) (i32.const 0))
    (loop $again
        (call $is (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)) (i32.const -32))
        (br $again)))

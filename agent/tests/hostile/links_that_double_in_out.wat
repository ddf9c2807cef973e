;; trapped: /out has more than 200000 files and directories
(func (export "_start") (local $n i32)
    (i32.store (i32.const 4096) (i32.const 0x2f74756f))
    (i32.store (i32.const 4112) (i32.const 0x2f2e2e))
    (loop $again
        ;; out/NNNNNNNN, and in it two links to the one before.
        (i32.store (i32.const 4096) (i32.const 0x2f74756f))
        (call $digits (local.get $n) (i32.const 4100))
        (call $is (call $path_create_directory (i32.const 3) (i32.const 4096) (i32.const 12)) (i32.const 0))
        (if (local.get $n) (then
            (call $digits (i32.sub (local.get $n) (i32.const 1)) (i32.const 4131))
            (i32.store8 (i32.const 4128) (i32.const 46))
            (i32.store16 (i32.const 4129) (i32.const 0x2f2e))
            (i32.store16 (i32.const 4108) (i32.const 0x612f))
            (call $is (call $path_symlink (i32.const 4128) (i32.const 11)
                (i32.const 3) (i32.const 4096) (i32.const 14)) (i32.const 0))
            (i32.store16 (i32.const 4108) (i32.const 0x622f))
            (call $is (call $path_symlink (i32.const 4128) (i32.const 11)
                (i32.const 3) (i32.const 4096) (i32.const 14)) (i32.const 0))))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40)))))

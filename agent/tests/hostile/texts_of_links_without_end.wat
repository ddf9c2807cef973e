;; scratch full: wrote 1,052,000 of 1,048,576 bytes
;; limits: fuel=5000000000
(func (export "_start") (local $n i32)
    (memory.fill (i32.const 8192) (i32.const 120) (i32.const 4000))
    (i32.store (i32.const 4096) (i32.const 0x2f706d74))
    (loop $again
        (call $digits (local.get $n) (i32.const 4100))
        (call $is (call $path_symlink (i32.const 8192) (i32.const 4000)
            (i32.const 3) (i32.const 4096) (i32.const 12)) (i32.const 0))
        (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
            (i32.const 100000)))))

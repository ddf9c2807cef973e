;; A thousand files with numbered names.
(func (export "_start") (local $n i32) (local $fd i32)
    (i64.store (i32.const 8192) (i64.load (i32.const 1120))) (i32.store8 (i32.const 8195) (i32.const 47))
    (loop $l
        (call $digits (local.get $n) (i32.const 8196))
        (local.set $fd (call $open (i32.const 8192) (i32.const 12) (i32.const 1) (i64.const 0xfffffff)))
        (call $is (call $write (local.get $fd) (i32.const 8192) (i32.add (i32.const 1) (i32.rem_u (local.get $n) (i32.const 12)))) (i32.const 0))
        (call $is (call $fd_close (local.get $fd)) (i32.const 0))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000)))))

;; All clocks, their resolutions, and how they go on with the guest's fuel.
;; time
(func (export "_start") (local $c i32) (local $n i32)
    (loop $l
        (call $is (call $clock_res_get (local.get $c) (i32.const 8192)) (i32.const 0))
        (call $tell (i64.load (i32.const 8192)))
        (call $is (call $clock_time_get (local.get $c) (i64.const 0) (i32.const 8192)) (i32.const 0))
        (call $tell (i64.load (i32.const 8192)))
        (local.set $n (i32.const 0)) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))
        (call $is (call $clock_time_get (local.get $c) (i64.const 0) (i32.const 8192)) (i32.const 0))
        (call $tell (i64.load (i32.const 8192)))
        (br_if $l (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 1))) (i32.const 2))))
    (call $tell32 (call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 8192)))
    (call $end))

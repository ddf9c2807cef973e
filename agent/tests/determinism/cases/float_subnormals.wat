;; Numbers below the smallest normal one: no processor may flush them to zero.
(func (export "_start") (local $n i32) (local $x f64) (local $y f32)
    (local.set $x (f64.const 0x1p-1000)) (local.set $y (f32.const 0x1p-120))
    (loop $l
        (local.set $x (f64.mul (local.get $x) (f64.const 0.7)))
        (local.set $y (f32.mul (local.get $y) (f32.const 0.7)))
        (call $tellf64 (local.get $x)) (call $tellf32 (local.get $y))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 160))))
    (call $end))

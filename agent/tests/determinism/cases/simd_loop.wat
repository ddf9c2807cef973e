;; A long dependent chain of SIMD on floats and integers.
(func (export "_start") (local $n i32) (local $x v128) (local $y v128)
    (local.set $x (v128.const f32x4 0.1 0.2 0.3 0.4)) (local.set $y (v128.const i64x2 0x9e3779b97f4a7c15 1))
    (loop $l
        (local.set $x (f32x4.div (f32x4.add (f32x4.mul (local.get $x) (f32x4.splat (f32.const 0.7))) (f32x4.splat (f32.const 0.5)))
            (f32x4.sqrt (f32x4.add (f32x4.abs (local.get $x)) (f32x4.splat (f32.const 0.25))))))
        (local.set $y (i64x2.add (i64x2.mul (local.get $y) (v128.const i64x2 0xbf58476d1ce4e5b9 3))
            (i8x16.swizzle (local.get $y) (v128.const i8x16 3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3))))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))
    (call $tell128 (local.get $x)) (call $tell128 (local.get $y)) (call $end))

;; A product that rounds unless it is fused with the sum.
(func $one (param f64) (result v128) (f64x2.splat (local.get 0)))
(func (export "_start")
    (call $tell128 (f64x2.relaxed_madd (call $one (f64.const 0x1.0000001p0))
        (call $one (f64.const 0x1.0000001p0)) (call $one (f64.const -0x1.0000002p0))))
    (call $tell128 (f32x4.relaxed_nmadd (f32x4.splat (f32.const 0x1.001p0))
        (f32x4.splat (f32.const 0x1.001p0)) (f32x4.splat (f32.const 0x1.002p0))))
    (call $end))

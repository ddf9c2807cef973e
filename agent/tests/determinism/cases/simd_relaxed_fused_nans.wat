;; A product and a sum in one step, over lanes that are NaN.
;; fused
(data (i32.const 8192) "\01\00\a0\7f\00\00\80\7f\00\00\80\bf\01\00\00\00"
    "\00\00\80\3f\00\00\80\ff\45\23\c1\ff\00\00\00\80"
    "\db\0f\49\40\00\00\00\00\ff\ff\7f\7f\01\00\00\34")
(func (export "_start")
    (call $tell128 (f32x4.relaxed_madd (v128.load (i32.const 8192)) (v128.load (i32.const 8208)) (v128.load (i32.const 8224))))
    (call $tell128 (f32x4.relaxed_nmadd (v128.load (i32.const 8192)) (v128.load (i32.const 8208)) (v128.load (i32.const 8224))))
    (call $tell128 (f64x2.relaxed_madd (v128.load (i32.const 8192)) (v128.load (i32.const 8208)) (v128.load (i32.const 8224))))
    (call $tell128 (f64x2.relaxed_nmadd (v128.load (i32.const 8192)) (v128.load (i32.const 8208)) (v128.load (i32.const 8224))))
    (call $end))

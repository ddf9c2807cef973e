;; A sum of a million inexact terms: no processor may keep more digits, fuse, or add in another order.
(func (export "_start") (local $n i32) (local $x f64) (local $sum f64) (local $small f32)
    (local.set $x (f64.const 0.1))
    (loop $l
        (local.set $sum (f64.add (local.get $sum) (f64.mul (local.get $x) (f64.const 1.0000001))))
        (local.set $x (f64.div (f64.sqrt (f64.add (f64.mul (local.get $x) (local.get $x)) (f64.const 0.3)))
            (f64.const 1.0471975511965976)))
        (local.set $small (f32.add (local.get $small) (f32.demote_f64 (local.get $x))))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 300000))))
    (call $tellf64 (local.get $sum)) (call $tellf64 (local.get $x)) (call $tellf32 (local.get $small))
    (call $end))

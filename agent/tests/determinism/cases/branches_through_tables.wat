;; A switch of many arms, taken in an order that follows from what was computed.
(func (export "_start") (local $n i32) (local $x i64)
    (loop $l
        (block $d (block $c (block $b (block $a
            (br_table $a $b $c $d (i32.wrap_i64 (i64.rem_u (local.get $x) (i64.const 7)))))
            (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 3)) (i64.const 1))) (br $d))
            (local.set $x (i64.rotl (local.get $x) (i64.const 13))) (br $d))
            (local.set $x (i64.xor (local.get $x) (i64.const 0x5555))))
        (local.set $x (i64.add (local.get $x) (i64.const 11)))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50000))))
    (call $tell (local.get $x)) (call $end))

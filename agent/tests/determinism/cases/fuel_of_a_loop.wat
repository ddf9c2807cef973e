;; A loop of a million rounds, over some yields.
(func (export "_start") (local $n i32)
    (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000000))))
    (call $tell32 (local.get $n)) (call $end))

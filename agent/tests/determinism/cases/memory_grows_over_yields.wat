;; Growth and use between yields, so that a guest goes on where it was.
(func (export "_start") (local $n i32) (local $k i32)
    (loop $l
        (drop (memory.grow (i32.const 1)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (local.get $n))
        (local.set $k (i32.const 0))
        (loop $in (br_if $in (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 30000))))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 60))))
    (call $tell32 (i32.load (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4))))
    (call $tell32 (memory.size)) (call $end))

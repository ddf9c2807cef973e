;; A list in the garbage-collected heap, that becomes garbage and is made again.
(type $l (struct (field i64) (field (ref null $l))))
(func (export "_start") (local $l (ref null $l)) (local $n i64) (local $sum i64) (local $k i32)
    (loop $again
        (local.set $l (ref.null $l)) (local.set $n (i64.const 0))
        (loop $more
            (local.set $l (struct.new $l (local.get $n) (local.get $l)))
            (br_if $more (i64.lt_u (local.tee $n (i64.add (local.get $n) (i64.const 1))) (i64.const 2000))))
        (local.set $sum (i64.const 0))
        (loop $walk
            (local.set $sum (i64.add (local.get $sum) (struct.get $l 0 (local.get $l))))
            (br_if $walk (i32.eqz (ref.is_null (local.tee $l (struct.get $l 1 (local.get $l)))))))
        (call $tell (local.get $sum))
        (br_if $again (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 30))))
    (call $end))

;; Arrays that are all kept, until the heap is at its limit.
;; limits: memory=4194304
(type $a (array (mut i64)))
(type $l (struct (field (ref $a)) (field (ref null $l))))
(func (export "_start") (local $l (ref null $l)) (local $n i32)
    (loop $more
        (local.set $l (struct.new $l (array.new_default $a (i32.const 1000)) (local.get $l)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (if (i32.eqz (i32.rem_u (local.get $n) (i32.const 50))) (then
            (global.set $told (i32.const 131072)) (call $tell32 (local.get $n)) (call $end)))
        (br $more)))

;; Out of fuel in the middle of a loop that writes what it has come to.
;; limits: fuel=1234567
(func (export "_start") (local $n i64)
    (loop $l
        (local.set $n (i64.add (local.get $n) (i64.const 1)))
        (if (i64.eqz (i64.rem_u (local.get $n) (i64.const 10000))) (then
            (call $tell (local.get $n)) (call $end)
            (global.set $told (i32.const 131072))))
        (br $l)))

;; Out of fuel in one large fill of memory.
;; limits: fuel=100000
(func (export "_start")
    (call $tell (i64.const 1)) (call $end)
    (memory.fill (i32.const 0) (i32.const 7) (i32.const 200000))
    (call $tell (i64.const 2)) (call $end))

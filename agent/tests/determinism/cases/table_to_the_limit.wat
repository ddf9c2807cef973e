;; A table that grows until memory is at its limit.
;; limits: memory=700000
(table $t 1 funcref)
(func (export "_start")
    (loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    (call $tell32 (table.size $t)) (call $tell32 (table.grow $t (ref.null func) (i32.const 1)))
    (call $tell32 (table.grow $t (ref.null func) (i32.const 100000))) (call $tell32 (table.size $t)) (call $end))

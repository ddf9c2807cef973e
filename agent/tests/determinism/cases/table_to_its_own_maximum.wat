;; A table that declares how far it may grow.
(table $t 1 50 externref)
(func (export "_start")
    (call $tell32 (table.grow $t (ref.null extern) (i32.const 49))) (call $tell32 (table.grow $t (ref.null extern) (i32.const 1)))
    (call $tell32 (table.size $t)) (call $end))

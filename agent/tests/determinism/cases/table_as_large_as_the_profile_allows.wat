;; A table that grows to the most elements that any agent has room for.
(table $t 1 funcref)
(func (export "_start")
    (call $tell32 (table.grow $t (ref.null func) (i32.const 131071))) (call $tell32 (table.grow $t (ref.null func) (i32.const 1)))
    (call $tell32 (table.size $t)) (call $end))

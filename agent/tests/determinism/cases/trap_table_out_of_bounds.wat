;; A table's element that is not there.
(table $t 3 funcref)
(func (export "_start")
    (drop (table.get $t (i32.const 3))))

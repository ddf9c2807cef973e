;; A call through a table's element that is not there.
(table $t 3 funcref)
(func (export "_start")
    (call_indirect $t (i32.const 9)))

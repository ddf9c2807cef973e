;; A call through an empty element.
(table $t 3 funcref)
(func (export "_start")
    (call_indirect $t (i32.const 1)))

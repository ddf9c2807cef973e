;; A call through an element of another type.
(table $t 1 funcref) (func $f (param i64)) (elem $t (i32.const 0) $f)
(func (export "_start")
    (drop (call_indirect $t (result i32) (i32.const 0))))

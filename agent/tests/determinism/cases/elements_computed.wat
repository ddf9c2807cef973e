;; Elements that are expressions, in a table that begins with a function everywhere.
;; starts
(table $t 10 (ref null func) (ref.func $f))
(table $u 4 externref)
(elem (table $t) (i32.const 2) (ref null func) (ref.null func) (ref.func $g))
(func $f (result i32) (i32.const 1))
(func $g (result i32) (i32.const 2))
(func (export "_start")
    (call $tell32 (call_indirect $t (result i32) (i32.const 0)))
    (call $tell32 (call_indirect $t (result i32) (i32.const 3)))
    (call $tell32 (ref.is_null (table.get $t (i32.const 2))))
    (call $tell32 (ref.is_null (table.get $u (i32.const 2)))) (call $end))

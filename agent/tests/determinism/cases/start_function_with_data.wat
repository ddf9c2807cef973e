;; A start function that reads data segments, tables and globals which were made before it.
;; starts
(data (i32.const 70000) "made before the start function")
(table $t 4 funcref)
(elem $t (i32.const 1) $f $g)
(global $g (mut i64) (i64.add (i64.const 40) (i64.const 2)))
(func $f (result i32) (i32.const 5))
(func $g (result i32) (i32.const 6))
(func $first (call $dump (i32.const 70000) (i32.const 70032)) (call $tell (global.get $g))
    (call $tell32 (call_indirect $t (result i32) (i32.const 2))))
(start $first)
(func (export "_start")
    (call $end))

;; An exception that nobody catches, after one that is caught.
(tag $t (param i32))
(func (export "_start")
    (block $h (try_table (catch_all $h) (throw $t (i32.const 1))))
    (call $tell (i64.const 3)) (call $end) (throw $t (i32.const 2)))

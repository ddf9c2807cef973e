;; A trap before `_start`.
(module (func $first (drop (i32.div_s (i32.const 1) (i32.const 0)))) (start $first)
    (func (export "_start")))

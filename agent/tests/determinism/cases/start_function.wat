;; A start function that computes and writes before `_start` does.
;; starts
(func $first (call $tell (i64.const 1)))
(start $first)
(func (export "_start")
    (call $tell (i64.const 2)) (call $end))

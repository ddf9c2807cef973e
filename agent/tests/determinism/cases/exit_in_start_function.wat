;; A start function that exits: `_start` never runs.
;; starts
(func $first (call $tell (i64.const 1)) (call $end) (call $proc_exit (i32.const 9)))
(start $first)
(func (export "_start")
    unreachable)

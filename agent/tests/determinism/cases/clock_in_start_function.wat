;; The time before `_start`.
;; time
;; starts
(func $first
    (call $is (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 8192)) (i32.const 0))
    (call $tell (i64.load (i32.const 8192))))
(start $first)
(func (export "_start")
    (call $end))

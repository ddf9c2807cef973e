;; A sleep of an hour takes no time, and the clock has moved.
;; time
(func (export "_start")
    (call $is (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 9000)) (i32.const 0))
    (i64.store (i32.const 8192) (i64.const 0x1234)) (i32.store (i32.const 8208) (i32.const 1))
    (i64.store (i32.const 8216) (i64.const 3600000000000))
    (call $tell32 (call $poll_oneoff (i32.const 8192) (i32.const 8400) (i32.const 1) (i32.const 9016)))
    (call $tell32 (i32.load (i32.const 9016))) (call $dump (i32.const 8400) (i32.const 8432))
    (call $is (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 9008)) (i32.const 0))
    (call $tell (i64.sub (i64.load (i32.const 9008)) (i64.load (i32.const 9000)))) (call $end))

;; Out of fuel while random numbers are drawn.
;; limits: fuel=150000
(func (export "_start")
    (drop (call $random_get (i32.const 4096) (i32.const 100000)))
    unreachable)

;; Out of fuel by the price of what is written; it is written all the same.
;; limits: fuel=20000
(func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 100)))
    (drop (call $write (i32.const 1) (i32.const 4096) (i32.const 60000)))
    unreachable)

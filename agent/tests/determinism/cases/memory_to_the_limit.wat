;; Growth page by page until it is denied, and what is there then.
;; limits: memory=8388608
(func (export "_start") (local $was i32)
    (loop $l
        (br_if $l (i32.ne (local.tee $was (memory.grow (i32.const 1))) (i32.const -1))))
    (call $tell32 (memory.size)) (call $tell32 (memory.grow (i32.const 0)))
    (i64.store (i32.const 8388600) (i64.const 77))
    (call $tell (i64.load (i32.const 8388600))) (call $tell (i64.load (i32.const 8388592)))
    (call $end))

;; The trap `unreachable`, with a stack and output before it.
(func $inner unreachable)
(func (export "_start")
    (call $tell (i64.const 1)) (call $end) (call $inner))

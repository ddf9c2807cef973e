;; No socket, no signal.
(func (export "_start")
    (call $tell32 (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 8192)))
    (call $tell32 (call $sock_shutdown (i32.const 1) (i32.const 1)))
    (call $tell32 (call $sock_recv (i32.const 0) (i32.const 9000) (i32.const 1) (i32.const 0) (i32.const 8192) (i32.const 8196)))
    (call $tell32 (call $sched_yield)) (call $end))

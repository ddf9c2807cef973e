;; The exit code -1.
(func (export "_start")
    (call $proc_exit (i32.const -1)) unreachable)

;; An exit code that the job calls success.
(func (export "_start")
    (call $proc_exit (i32.const 3)))

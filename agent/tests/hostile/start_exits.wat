;; failed with exit code 9
(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (func $f (call $exit (i32.const 9))) (start $f) (func (export "_start")))

;; A module that wants what is not there.
(module (import "env" "missing" (func)) (import "wasi_snapshot_preview1" "none" (func))
    (func (export "_start")))

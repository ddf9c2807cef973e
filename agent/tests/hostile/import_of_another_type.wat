;; invalid module: incompatible import type for `wasi_snapshot_preview1::sched_yield`: types incompatible: expected type `(func (param i64))`, found type `(func (result i32))`
(module (import "wasi_snapshot_preview1" "sched_yield" (func (param i64)))
    (func (export "_start")))

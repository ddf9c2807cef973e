;; trapped: call stack exhausted
(func $f (export "_start") (call $f) (call $f))

;; trapped: call stack exhausted
(func $f (export "_start") (call $g) (drop (i32.const 1)))
(func $g (call $f) (drop (i32.const 1)))

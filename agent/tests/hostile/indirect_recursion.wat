;; trapped: call stack exhausted
(table 1 funcref)
(elem (i32.const 0) $f)
(func $f (export "_start") (call_indirect (i32.const 0)) (drop (i32.const 1)))

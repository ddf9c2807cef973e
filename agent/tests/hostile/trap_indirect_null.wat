;; trapped: uninitialized element
(table 1 funcref)
(func (export "_start") (call_indirect (i32.const 0)))

;; trapped: undefined element: out of bounds table access
(table 1 funcref)
(func (export "_start") (call_indirect (i32.const 1)))

;; A module whose code does not fit its types.
(module (func (export "_start") (i32.add (i32.const 1) (i64.const 1)) drop))

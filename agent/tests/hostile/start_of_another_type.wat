;; invalid module: its export `_start` is not a function of no arguments
(module (func (export "_start") (param i32)))

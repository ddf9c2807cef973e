;; trapped: an exception was thrown and not caught
(tag $t (param i64))
(func (export "_start") (throw $t (i64.const 1)))

;; NaN as an integer.
(func (export "_start")
    (drop (i64.trunc_f64_s (f64.div (f64.const 0) (f64.const 0)))))

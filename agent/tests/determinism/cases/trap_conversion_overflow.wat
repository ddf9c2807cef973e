;; A float that no integer can be.
(func (export "_start")
    (drop (i32.trunc_f64_u (f64.const 4294967296))))

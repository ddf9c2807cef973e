;; trapped: invalid conversion to integer
(func (export "_start") 
    (drop (i64.trunc_f32_u (f32.const nan))))

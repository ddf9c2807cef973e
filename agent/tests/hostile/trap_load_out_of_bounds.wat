;; trapped: out of bounds memory access
(func (export "_start") 
    (drop (i64.load (i32.const 262137))))

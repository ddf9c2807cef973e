;; trapped: out of bounds memory access
(func (export "_start") 
    (memory.copy (i32.const 0) (i32.const 1) (i32.const 262144)))

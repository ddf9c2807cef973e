;; trapped: out of bounds memory access
(func (export "_start") 
    (i32.store offset=0xffffffff (i32.const -1) (i32.const 0)))

;; A fill that ends beyond memory writes nothing.
(func (export "_start")
    (memory.fill (i32.const 262140) (i32.const 1) (i32.const 5)))

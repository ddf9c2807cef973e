;; Memories that grow beside each other up to one limit, and copies between them.
;; limits: memory=2097152
;; starts
(memory $b 1)
(memory $c 0 3)
(func (export "_start")
    (call $tell32 (memory.grow $b (i32.const 9))) (call $tell32 (memory.grow $c (i32.const 3)))
    (call $tell32 (memory.grow $c (i32.const 1))) (call $tell32 (memory.grow $b (i32.const 100)))
    (memory.fill $b (i32.const 100) (i32.const 0x5a) (i32.const 1000))
    (memory.copy $c $b (i32.const 1) (i32.const 99) (i32.const 500))
    (memory.copy 0 $c (i32.const 8192) (i32.const 0) (i32.const 16))
    (call $dump (i32.const 8192) (i32.const 8208))
    (call $tell32 (memory.size $b)) (call $tell32 (memory.size $c)) (call $end))

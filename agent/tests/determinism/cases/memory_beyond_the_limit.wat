;; Growth by more than is allowed, and by more than there can be.
(func (export "_start")
    (call $tell32 (memory.grow (i32.const 2000))) (call $tell32 (memory.grow (i32.const 65536)))
    (call $tell32 (memory.grow (i32.const -1))) (call $tell32 (memory.grow (i32.const 3)))
    (call $tell32 (memory.size)) (call $end))

;; Segments so far from each other that no image is made of them: their bytes are billed everywhere.
;; no image
(memory $far 300)
(data (memory $far) (i32.const 0) "near")
(data (memory $far) (i32.const 17825792) "far away")
(func (export "_start")
    (call $tell32 (i32.load $far (i32.const 0))) (call $tell (i64.load $far (i32.const 17825792))) (call $end))

;; A trap after growth was denied is told as what it comes from.
;; limits: memory=1048576
(func (export "_start")
    (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)))

;; out of memory: asked for 504,008 of 500,000 bytes (488 KiB allowed)
;; limits: memory=500000
(module (table 1 externref)
    (func (export "_start") (loop
        (if (i32.eq (table.grow (ref.null extern) (i32.const 1000)) (i32.const -1)) (then unreachable))
        (br 0))))

;; Out of fuel between copies of memory.
;; limits: fuel=777777
(func (export "_start")
    (loop $l (memory.copy (i32.const 0) (i32.const 65536) (i32.const 10000)) (br $l)))

;; A memory that is larger than allowed from the start.
;; limits: memory=4194303
(module (memory 64) (func (export "_start")))

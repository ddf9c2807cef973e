;; Out of fuel before `_start`.
;; limits: fuel=1000
(module (func $first (loop br 0)) (start $first) (func (export "_start")))

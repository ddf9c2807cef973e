;; out of fuel: used 50,000,000 of 50,000,000
(module (func $f (loop br 0)) (start $f) (func (export "_start")))

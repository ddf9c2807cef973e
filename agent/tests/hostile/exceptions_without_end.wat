;; out of fuel: used 5,000,000 of 5,000,000
;; limits: fuel=5000000
(tag $t)
(func (export "_start") (loop $again
    (block $caught (try_table (catch $t $caught) (throw $t)))
    (br $again)))

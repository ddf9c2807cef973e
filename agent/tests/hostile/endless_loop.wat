;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") 
    (loop br 0))

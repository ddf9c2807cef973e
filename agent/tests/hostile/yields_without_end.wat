;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") 
    (loop $again
        (drop (call $sched_yield))
        (br $again)))

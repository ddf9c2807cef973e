;; out of fuel: used 50,000,000 of 50,000,000
(func $f (export "_start") (return_call $f))

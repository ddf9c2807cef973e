;; out of fuel: used 50,000,000 of 50,000,000
(module (type $a (array (mut i64)))
    (func (export "_start") (drop (array.new_default $a (i32.const -1)))))

;; An array whose size is more than can be told.
;; limits: fuel=100000000000
(type $a (array (mut i64)))
(func (export "_start")
    (drop (array.new_default $a (i32.const -1))))

;; An array's element that is not there.
(type $a (array (mut i32)))
(func (export "_start")
    (drop (array.get $a (array.new_default $a (i32.const 3)) (i32.const 3))))

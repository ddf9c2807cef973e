;; trapped: out of bounds array access
(type $a (array (mut i8)))
(func (export "_start") (drop (array.get_u $a (array.new_default $a (i32.const 1)) (i32.const 1))))

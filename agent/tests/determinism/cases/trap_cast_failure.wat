;; A reference that is of another type.
(type $a (sub (struct (field i32)))) (type $b (sub $a (struct (field i32) (field i64))))
(func (export "_start")
    (drop (ref.cast (ref $b) (struct.new_default $a))))

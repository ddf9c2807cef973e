;; trapped: cast failure
(type $s (struct))
(func (export "_start") (drop (ref.cast (ref $s) (ref.i31 (i32.const 1)))))

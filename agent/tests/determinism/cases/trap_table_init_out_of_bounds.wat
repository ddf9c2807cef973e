;; More elements than the segment has.
(table $t 3 funcref) (func $f) (elem $e func $f)
(func (export "_start")
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2)))

;; A store that begins within memory and ends beyond it, after others that were whole.
(func (export "_start")
    (i64.store (i32.const 262136) (i64.const -1)) (i64.store (i32.const 262137) (i64.const 0)))

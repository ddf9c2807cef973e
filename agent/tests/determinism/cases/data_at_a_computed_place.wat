;; A segment whose place is computed: no image is made, its bytes are billed everywhere.
;; no image
(data (i32.add (i32.const 8000) (i32.const 192)) "placed")
(func (export "_start")
    (call $dump (i32.const 8192) (i32.const 8200)) (call $end))

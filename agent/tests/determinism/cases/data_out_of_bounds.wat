;; A segment beyond memory: those before it are there, and the module traps.
;; no image
(module (memory (export "memory") 1)
    (data (i32.const 0) "there") (data (i32.const 65530) "not there")
    (func (export "_start")))

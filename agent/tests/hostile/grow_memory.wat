;; out of memory: asked for 67,174,400 of 67,108,864 bytes (64.0 MiB allowed)
(func (export "_start") 
    (loop $again
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
        (br $again)))

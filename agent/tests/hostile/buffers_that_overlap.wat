;; out of fuel: used 50,000,000 of 50,000,000
;; limits: scratch=10000000
(func (export "_start") 
    (i32.store (i32.const 2048) (i32.const 0))
    (i32.store (i32.const 2052) (i32.const 262144))
    (memory.copy (i32.const 2056) (i32.const 2048) (i32.const 8184))
    (drop (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)))
    (loop $again
        (drop (call $fd_seek (i32.const 4) (i64.const 0) (i32.const 0) (i32.const 8)))
        (i32.store (i32.const 2048) (i32.const 0))
        (drop (call $fd_write (i32.const 4) (i32.const 2048) (i32.const 1024) (i32.const 0)))
        (br $again)))

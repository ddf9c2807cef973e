;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") 
    (loop $again
        (call $is (call $fd_readdir (i32.const 3) (i32.const 4096) (i32.const 1) (i64.const 0) (i32.const 8))
        (i32.const 0))
        (br $again)))

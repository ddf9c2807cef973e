;; output too large: wrote 1,099,511,627,777 of 1,048,576 bytes
(func (export "_start") 
    (i32.store (i32.const 20) (i32.const 1))
    (drop (call $fd_pwrite (call $open (i32.const 1056) (i32.const 5) (i32.const 1) (i64.const 66)) (i32.const 16) (i32.const 1)
        (i64.const 0x10000000000) (i32.const 8))))

;; scratch full: wrote 4,611,686,018,427,387,904 of 1,048,576 bytes
(func (export "_start") 
    (drop (call $fd_allocate (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)) (i64.const 0) (i64.const 0x4000000000000000))))

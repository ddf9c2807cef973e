;; An offset so large that the address is beyond 32 bits.
(func (export "_start")
    (drop (i64.load offset=0xffffffff (i32.const -1))))

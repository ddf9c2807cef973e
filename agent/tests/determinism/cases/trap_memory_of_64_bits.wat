;; An address beyond 32 bits.
(memory $m i64 1)
(func (export "_start")
    (drop (i64.load $m (i64.const 0x100000008))))

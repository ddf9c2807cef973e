;; A memory with 64-bit addresses: growth, bounds, bulk operators.
;; starts
(memory $m i64 1 40)
(data $d "sixty-four")
(func (export "_start")
    (call $tell (memory.grow $m (i64.const 30))) (call $tell (memory.grow $m (i64.const 0x100000000)))
    (i64.store $m offset=8 (i64.const 0x1e0000) (i64.const 0x1122334455667788))
    (call $tell (i64.load $m (i64.const 0x1e0008)))
    (memory.init $m $d (i64.const 65530) (i32.const 0) (i32.const 10))
    (call $tell (i64.load $m (i64.const 65530)))
    (memory.fill $m (i64.const 70000) (i32.const 3) (i64.const 100000))
    (call $tell (i64.load $m (i64.const 169993))) (call $tell (memory.size $m)) (call $end))

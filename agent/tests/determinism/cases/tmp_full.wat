;; More in `/tmp` than is allowed ends the guest.
;; limits: scratch=123456
(func (export "_start") (local $fd i32)
    (local.set $fd (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 0xfffffff)))
    (loop $l (drop (call $write (local.get $fd) (i32.const 0) (i32.const 10000))) (br $l)))

;; A guest of `weir bench --masters`: counts to half a million, about a millisecond, and ends.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (local $left i32)
    (local.set $left (i32.const 500000))
    (loop $again
      (br_if $again
        (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))

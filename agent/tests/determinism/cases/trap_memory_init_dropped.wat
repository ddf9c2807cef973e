;; A segment that was dropped has no bytes.
(data $d "abc")
(func (export "_start")
    (data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))

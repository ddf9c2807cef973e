;; Segments over each other: the last one counts.
(data (i32.const 8192) "aaaaaaaaaaaaaaaa")
(data (i32.const 8196) "bbbb")
(data (i32.const 8190) "cccc")
(func (export "_start")
    (call $dump (i32.const 8184) (i32.const 8216)) (call $end))

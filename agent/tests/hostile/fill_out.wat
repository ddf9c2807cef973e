;; output too large: wrote 1,080,000 of 1,048,576 bytes
(func (export "_start") 
    (drop (call $open (i32.const 1056) (i32.const 5) (i32.const 1) (i64.const 66)))
    (loop $again
        (drop (call $write (i32.const 4) (i32.const 0) (i32.const 60000)))
        (br $again)))

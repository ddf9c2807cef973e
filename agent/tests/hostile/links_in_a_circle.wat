;; out of fuel: used 50,000,000 of 50,000,000
(func (export "_start") 
    (call $is (call $path_symlink (i32.const 1152) (i32.const 1) (i32.const 3) (i32.const 1024) (i32.const 5))
        (i32.const 0))
    (call $is (call $path_symlink (i32.const 1136) (i32.const 1) (i32.const 3) (i32.const 1040) (i32.const 5))
        (i32.const 0))
    (loop $again
        (call $is (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66)) (i32.const -32))
        (br $again)))

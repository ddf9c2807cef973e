;; succeeded
(func (export "_start") 
    (i32.store (i32.const 4096) (i32.const 0xfffffffe))
    (call $is (call $path_create_directory (i32.const 3) (i32.const 4096) (i32.const 4))
        (i32.const 25))
    (i32.store (i32.const 4096) (i32.const 0x61006161))
    (call $is (call $path_create_directory (i32.const 3) (i32.const 4096) (i32.const 4))
        (i32.const 28)))

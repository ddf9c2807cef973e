;; trapped: /out/a is a symbolic link to nothing beneath /out
(func (export "_start") 
    (call $is (call $path_symlink (i32.const 1024) (i32.const 5) (i32.const 3) (i32.const 1056) (i32.const 5)) (i32.const 0)))

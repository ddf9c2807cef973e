;; trapped: Pointer out of bounds: Region { start: 262136, len: 131 }
(func (export "_start") 
    (drop (call $fd_readdir (i32.const 3) (i32.const 262136) (i32.const -1) (i64.const 0) (i32.const 8))))

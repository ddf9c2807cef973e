;; invalid module: module memory does not fit in pooling allocator requirements: memory index 0 is unsupported in this pooling allocator configuration: memory has a minimum byte size that cannot be represented in a u64: size overflow calculating memory size
(module (memory i64 0x1000000000000) (func (export "_start")))

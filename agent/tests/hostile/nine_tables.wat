;; invalid module: module table does not fit in pooling allocator requirements: defined tables count of 9 exceeds the per-instance limit of 8
(module (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (func (export "_start")))

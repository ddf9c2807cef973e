;; invalid module: module table does not fit in pooling allocator requirements: table index 0 has a minimum element size of 10000000 which exceeds the limit of 131072
(module (table 10000000 funcref) (func (export "_start")))

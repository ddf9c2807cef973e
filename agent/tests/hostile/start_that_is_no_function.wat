;; invalid module: its export `_start` is not a function of no arguments
(module (memory (export "_start") 1))

;; A module of threads.
(module (memory 1 1 shared) (func (export "_start")))

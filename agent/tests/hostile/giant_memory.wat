;; out of memory: asked for 4,294,967,296 of 67,108,864 bytes (64.0 MiB allowed)
(module (memory 65536) (func (export "_start")))

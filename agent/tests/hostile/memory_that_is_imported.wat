;; invalid module: it imports what Weir does not have: `memory` from `env`
(module (import "env" "memory" (memory 1)) (func (export "_start")))

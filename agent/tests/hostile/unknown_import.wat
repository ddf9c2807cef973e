;; invalid module: it imports what Weir does not have: `system` from `env`
(module (import "env" "system" (func)) (func (export "_start")))

;; trapped: wasm `unreachable` instruction executed
(module (func $f unreachable) (start $f) (func (export "_start")))

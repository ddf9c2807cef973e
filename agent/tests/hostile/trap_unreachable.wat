;; trapped: wasm `unreachable` instruction executed
(func (export "_start") 
    unreachable)

;; trapped: wasm `unreachable` instruction executed
(module (table 1 funcref)
    (func (export "_start") (loop
        (if (i32.eq (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
        (br 0))))

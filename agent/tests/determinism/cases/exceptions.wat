;; Exceptions through many frames, with values, thrown again, and caught by reference.
(tag $t (param i32 i64))
(tag $u)
(func $deep (param i32)
    (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
        (else (throw $t (i32.const 7) (i64.const 8)))))
(func $again
    (block $h (result i32 i64 exnref)
        (try_table (catch_ref $t $h) (call $deep (i32.const 50)))
        (return))
    throw_ref)
(func (export "_start") (local $n i32)
    (loop $l
        (block $done
            (block $h (result i32 i64)
                (try_table (catch $t $h) (call $again)) (br $done))
            (call $tell) (call $tell32))
        (block $h (try_table (catch_all $h) (throw $u)))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20))))
    (call $end))

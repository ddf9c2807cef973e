;; How cases tell what they saw: lines of 16 hex digits, on stdout when `$end` is called.
(global $told (mut i32) (i32.const 131072))

;; Adds a line with a number.
(func $tell (param $number i64) (local $left i64)
    (local.set $left (i64.const 64))
    (loop $digit
        (local.set $left (i64.sub (local.get $left) (i64.const 4)))
        (call $put (i32.wrap_i64
            (i64.and (i64.shr_u (local.get $number) (local.get $left)) (i64.const 15))))
        (br_if $digit (i64.ne (local.get $left) (i64.const 0))))
    (i32.store8 (global.get $told) (i32.const 10))
    (global.set $told (i32.add (global.get $told) (i32.const 1))))

;; Adds a hex digit.
(func $put (param $digit i32)
    (i32.store8 (global.get $told) (i32.add (local.get $digit)
        (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
    (global.set $told (i32.add (global.get $told) (i32.const 1))))

(func $tell32 (param $number i32) (call $tell (i64.extend_i32_u (local.get $number))))
(func $tellf32 (param $number f32) (call $tell32 (i32.reinterpret_f32 (local.get $number))))
(func $tellf64 (param $number f64) (call $tell (i64.reinterpret_f64 (local.get $number))))
(func $tell128 (param $lanes v128)
    (call $tell (i64x2.extract_lane 1 (local.get $lanes)))
    (call $tell (i64x2.extract_lane 0 (local.get $lanes))))

;; Adds lines for the 8-byte words of memory in [from, to).
(func $dump (param $from i32) (param $to i32)
    (loop $next
        (if (i32.lt_u (local.get $from) (local.get $to)) (then
            (call $tell (i64.load (local.get $from)))
            (local.set $from (i32.add (local.get $from) (i32.const 8)))
            (br $next)))))

;; Writes all lines.
(func $end
    (drop (call $write (i32.const 1) (i32.const 131072)
        (i32.sub (global.get $told) (i32.const 131072)))))

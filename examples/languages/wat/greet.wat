;; A Jobicolet by hand: wraps the event in a greeting. Memory is taken from a bump pointer and never given back.
(module
  (import "env" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 1024))
  (data (i32.const 0) "greeting somebody")
  (data (i32.const 32) "{\"greeting\": \"Hello from WAT\", \"event\": ")
  (data (i32.const 96) "asked to fail")
  (data (i32.const 128) "\"fail\": true")

  (func (export "init"))
  (func (export "free") (param i32))

  (func $malloc (export "malloc") (param $size i32) (result i32)
    (local $start i32)
    (local.set $start (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (global.get $free) (local.get $size)) (i32.const 15)) (i32.const -16)))
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq
              (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1)))
              (i32.const -1))
          (then (return (i32.const 0))))))
    (local.get $start))

  (func $same (param $a i32) (param $b i32) (param $size i32) (result i32)
    (local $at i32)
    (loop $next
      (if (i32.eq (local.get $at) (local.get $size)) (then (return (i32.const 1))))
      (if (i32.ne
            (i32.load8_u (i32.add (local.get $a) (local.get $at)))
            (i32.load8_u (i32.add (local.get $b) (local.get $at))))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))
    (unreachable))

  (func $wants_failure (param $data i32) (param $size i32) (result i32)
    (local $end i32)
    (if (i32.lt_u (local.get $size) (i32.const 12)) (then (return (i32.const 0))))
    (local.set $end (i32.sub (i32.add (local.get $data) (local.get $size)) (i32.const 12)))
    (loop $next
      (if (i32.gt_u (local.get $data) (local.get $end)) (then (return (i32.const 0))))
      (if (call $same (local.get $data) (i32.const 128) (i32.const 12)) (then (return (i32.const 1))))
      (local.set $data (i32.add (local.get $data) (i32.const 1)))
      (br $next))
    (unreachable))

  (func $answer (param $result i32) (param $code i64) (param $text i32) (param $size i32)
    (i64.store (local.get $result) (local.get $code))
    (i64.store offset=8 (local.get $result)
      (i64.or
        (i64.shl (i64.extend_i32_u (local.get $text)) (i64.const 32))
        (i64.extend_i32_u (local.get $size)))))

  (func (export "event") (param $result i32) (param $data i32) (param $size i32)
    (local $text i32)
    (call $log (i32.const 1) (i32.const 0) (i32.const 17))
    (if (call $wants_failure (local.get $data) (local.get $size))
      (then
        (call $answer (local.get $result) (i64.const 7) (i32.const 96) (i32.const 13))
        (return)))
    (local.set $text (call $malloc (i32.add (local.get $size) (i32.const 41))))
    (memory.copy (local.get $text) (i32.const 32) (i32.const 40))
    (memory.copy (i32.add (local.get $text) (i32.const 40)) (local.get $data) (local.get $size))
    (i32.store8 (i32.add (i32.add (local.get $text) (i32.const 40)) (local.get $size)) (i32.const 125))
    (call $answer (local.get $result) (i64.const 0) (local.get $text) (i32.add (local.get $size) (i32.const 41)))))

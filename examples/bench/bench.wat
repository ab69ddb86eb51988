;; The smallest program of the jobicolet ABI: it takes any event and answers {"ok":true}.
;; What is measured with it is the platform, not the program. Built with `wasm-tools parse bench.wat -o bench.wasm`.
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "{\"ok\":true}")
  (global $next (mut i32) (i32.const 1024))

  (func (export "init"))

  ;; Gives out memory in steps of eight bytes and takes none back: an instance lives for one event.
  (func (export "malloc") (param $size i32) (result i32)
    (local $pointer i32)
    (local.set $pointer (global.get $next))
    (global.set $next
      (i32.and
        (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7))
        (i32.const -8)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (drop (memory.grow
          (i32.add
            (i32.div_u
              (i32.sub (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
              (i32.const 65536))
            (i32.const 1))))))
    (local.get $pointer))

  (func (export "free") (param $pointer i32))

  (func (export "event") (param $result i32) (param $data i32) (param $size i32)
    (i64.store (local.get $result) (i64.const 0))
    (i64.store offset=8 (local.get $result) (i64.const 0x0000_0010_0000_000b))))

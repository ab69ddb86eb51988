// A Jobicolet in AssemblyScript: wraps the event in a greeting.

// @ts-ignore: decorator
@external("env", "log")
declare function hostLog(level: u32, text: usize, size: usize): void;

function log(level: u32, text: string): void {
  const bytes = String.UTF8.encode(text);
  hostLog(level, changetype<usize>(bytes), bytes.byteLength);
}

export function init(): void {}

export function malloc(size: usize): usize {
  return heap.alloc(size);
}

export function free(block: usize): void {
  heap.free(block);
}

export function event(result: usize, data: usize, size: usize): void {
  const text = String.UTF8.decodeUnsafe(data, size);
  log(1, "greeting somebody");
  const fail = text.includes('"fail": true');
  const reply = String.UTF8.encode(
    fail ? "asked to fail" : '{"greeting": "Hello from AssemblyScript", "event": ' + text + "}",
  );
  // The host frees it as it does blocks of malloc.
  const copy = heap.alloc(reply.byteLength);
  memory.copy(copy, changetype<usize>(reply), reply.byteLength);
  store<u64>(result, fail ? 7 : 0);
  store<u64>(result, ((<u64>copy) << 32) | (<u64>reply.byteLength), 8);
}

function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(5, message ? message : "aborted");
  unreachable();
}

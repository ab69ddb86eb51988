//! A command in Zig: the event on stdin, the result on stdout, log lines on stderr.

const std = @import("std");
const wasi = std.os.wasi;

fn write(file: wasi.fd_t, bytes: []const u8) void {
    var rest = bytes;
    while (rest.len > 0) {
        const parts = [_]wasi.ciovec_t{.{ .base = rest.ptr, .len = rest.len }};
        var written: usize = 0;
        if (wasi.fd_write(file, &parts, 1, &written) != .SUCCESS) wasi.proc_exit(1);
        rest = rest[written..];
    }
}

fn read(space: []u8) []u8 {
    var size: usize = 0;
    while (size < space.len) {
        const parts = [_]wasi.iovec_t{.{ .base = space[size..].ptr, .len = space.len - size }};
        var got: usize = 0;
        if (wasi.fd_read(0, &parts, 1, &got) != .SUCCESS) wasi.proc_exit(1);
        if (got == 0) break;
        size += got;
    }
    return space[0..size];
}

var buffer: [1 << 20]u8 = undefined;

pub fn main() void {
    const event = std.mem.trim(u8, read(&buffer), " \n");
    write(2, "greeting somebody\n");
    if (std.mem.indexOf(u8, event, "\"fail\": true") != null) {
        write(1, "asked to fail");
        wasi.proc_exit(7);
    }
    write(1, "{\"greeting\": \"Hello from Zig\", \"event\": ");
    write(1, event);
    write(1, "}");
}

/* The Jobicolet ABI in C: include this in one file, and define `handle`.
 *
 *     static int64_t handle(const char *event, size_t size, Reply *reply) {
 *         reply_text(reply, "\"done\"");
 *         return 0;
 *     }
 *
 * `handle` returns 0 for success, or a code of its own for failure; the reply is the result or the reason. It needs
 * no libc: memory is taken from the end of the module's and never given back, since every event has an instance of
 * its own.
 */
#ifndef JOBICOLET_H
#define JOBICOLET_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name), used))

enum Level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARNING, LEVEL_ERROR, LEVEL_FATAL, LEVEL_PANIC, LEVEL_NONE };

typedef struct {
    char *start;
    size_t size;
    size_t capacity;
} Reply;

__attribute__((import_module("env"), import_name("log"))) void host_log(uint32_t level, const char *text, size_t size);

static int64_t handle(const char *event, size_t size, Reply *reply);

extern unsigned char __heap_base;
static uintptr_t heap_end;

EXPORT("malloc") void *jobicolet_malloc(size_t size) {
    if (!heap_end) heap_end = (uintptr_t)&__heap_base;
    uintptr_t start = (heap_end + 15) & ~(uintptr_t)15;
    size_t have = __builtin_wasm_memory_size(0) * (size_t)65536;
    if (size > (size_t)-1 - start - 65536) return 0;
    if (start + size > have) {
        size_t pages = (start + size - have + 65535) / 65536;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return 0;
    }
    heap_end = start + size;
    return (void *)start;
}

EXPORT("free") void jobicolet_free(void *block) { (void)block; }

EXPORT("init") void jobicolet_init(void) {}

static size_t text_size(const char *text) {
    size_t size = 0;
    while (text[size]) size++;
    return size;
}

static inline void log_text(enum Level level, const char *text) { host_log(level, text, text_size(text)); }

static void reply_bytes(Reply *reply, const char *bytes, size_t size) {
    if (reply->size + size > reply->capacity) {
        size_t capacity = (reply->size + size) * 2;
        char *grown = jobicolet_malloc(capacity);
        if (!grown) __builtin_trap();
        for (size_t i = 0; i < reply->size; i++) grown[i] = reply->start[i];
        reply->start = grown;
        reply->capacity = capacity;
    }
    for (size_t i = 0; i < size; i++) reply->start[reply->size + i] = bytes[i];
    reply->size += size;
}

static inline void reply_text(Reply *reply, const char *text) { reply_bytes(reply, text, text_size(text)); }

EXPORT("event") void jobicolet_event(uint64_t *result, const char *event, size_t size) {
    Reply reply = {0};
    result[0] = (uint64_t)handle(event, size, &reply);
    result[1] = (uint64_t)(uintptr_t)reply.start << 32 | reply.size;
}

#endif

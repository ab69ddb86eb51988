/* Summarises a push: repository, branch or tag, pusher, what the commits say, how many files they touch.
 *
 * ABI `jobicolet`: the host calls init(), copies the event into a block from malloc(), and calls event(). It reads at
 * `result` two little-endian u64: the code (0 is success), and `pointer << 32 | size` of the result. There is no libc
 * here: each event has a fresh instance, so the allocator only ever moves forward.
 */
#include "json.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define COMMITS_LISTED_MAX 20
#define LINE_BYTES_MAX 100
#define NOT_A_PUSH 1

enum { DEBUG, INFO, WARNING, ERROR };

__attribute__((import_module("env"), import_name("log"))) void host_log(uint32_t level, const char *at, uint32_t size);

extern unsigned char __heap_base;
static uintptr_t heap;

EXPORT("malloc") void *allocate(size_t size) {
    if (!heap) heap = (uintptr_t)&__heap_base;
    uintptr_t block = (heap + 15) & ~(uintptr_t)15;
    uintptr_t have = __builtin_wasm_memory_size(0) << 16;
    if (size > UINT32_MAX - block - 65536) __builtin_trap();
    if (block + size > have && __builtin_wasm_memory_grow(0, (block + size - have + 65535) >> 16) == (size_t)-1) __builtin_trap();
    heap = block + size;
    return (void *)block;
}

EXPORT("free") void release(void *block) { (void)block; }

EXPORT("init") void init(void) {}

void *grow(void *block, size_t used, size_t size) {
    char *bigger = allocate(size);
    for (size_t i = 0; i < used; i++) bigger[i] = ((char *)block)[i];
    return bigger;
}

static void say(uint32_t level, Text *line) {
    host_log(level, line->start, line->length);
    line->length = 0;
}

static void finish(uint64_t *result, uint64_t code, Text *text) {
    result[0] = code;
    result[1] = (uint64_t)(uintptr_t)text->start << 32 | text->length;
}

static size_t after_prefix(Text *text, const char *prefix) { /* 0 if it does not begin so */
    size_t count = 0;
    while (prefix[count] && count < text->length && text->start[count] == prefix[count]) count++;
    return prefix[count] ? 0 : count;
}

static uint64_t sum_of(Json commits, const char *list) {
    uint64_t sum = 0;
    for (Json commit = first(commits); kind(commit); commit = next(commit)) sum += items(member(commit, list));
    return sum;
}

static void put_commits(Text *out, Json commits) {
    int listed = 0;
    put(out, ",\"commits\":[");
    for (Json commit = first(commits); kind(commit) && listed < COMMITS_LISTED_MAX; commit = next(commit), listed++) {
        Text line = {0, 0, 0};
        put(out, listed ? ",{\"id\":" : "{\"id\":");
        put_quoted_line(out, member(commit, "id"), 64);
        put(out, ",\"author\":");
        put_quoted_line(out, member(member(commit, "author"), "name"), LINE_BYTES_MAX);
        put(out, ",\"message\":");
        put_quoted_line(out, member(commit, "message"), LINE_BYTES_MAX);
        put(out, "}");
        put_line(&line, member(commit, "message"), LINE_BYTES_MAX);
        say(DEBUG, &line);
    }
    put(out, "]");
}

static void put_files(Text *out, Json commits) {
    static const char *const lists[] = {"added", "removed", "modified"};
    put(out, ",\"files\":{");
    for (int i = 0; i < 3; i++) {
        put(out, i ? ",\"" : "\"");
        put(out, lists[i]);
        put(out, "\":");
        put_number(out, sum_of(commits, lists[i]));
    }
    put(out, "}");
}

EXPORT("event") void event(uint64_t *result, const char *data, uint32_t size) {
    Json push = skip_space((Json){data, data + size});
    Json commits = member(push, "commits");
    Json repository = member(member(push, "repository"), "full_name");
    Text ref = {0, 0, 0}, out = {0, 0, 0}, line = {0, 0, 0};
    put_line(&ref, member(push, "ref"), 1000);
    if (!ref.length || kind(repository) != '"') {
        put(&out, "the event has no ref or no repository.full_name: it is not a push");
        host_log(ERROR, out.start, out.length);
        finish(result, NOT_A_PUSH, &out);
        return;
    }
    int forced = is_true(member(push, "forced"));
    const char *action = is_true(member(push, "deleted"))   ? "deleted"
                         : is_true(member(push, "created")) ? "created"
                         : forced                           ? "forced"
                                                            : "pushed";
    size_t tag = after_prefix(&ref, "refs/tags/"), cut = tag ? tag : after_prefix(&ref, "refs/heads/");

    put_count(&line, items(commits), "commit");
    put(&line, " on ");
    put_bytes(&line, ref.start, ref.length);
    put(&line, " of ");
    put_line(&line, repository, LINE_BYTES_MAX);
    say(INFO, &line);
    if (forced) {
        put(&line, "history was rewritten");
        say(WARNING, &line);
    }

    put(&out, "{\"repository\":");
    put_quoted_line(&out, repository, 1000);
    put(&out, tag ? ",\"tag\":" : ",\"branch\":");
    put_quoted(&out, ref.start + cut, ref.length - cut);
    put(&out, ",\"action\":\"");
    put(&out, action);
    put(&out, "\",\"pusher\":");
    put_quoted_line(&out, member(member(push, "pusher"), "name"), LINE_BYTES_MAX);
    put(&out, ",\"compare\":");
    put_quoted_line(&out, member(push, "compare"), 1000);
    put(&out, ",\"commit_count\":");
    put_number(&out, items(commits));
    put_files(&out, commits);
    put_commits(&out, commits);
    put(&out, "}");
    finish(result, 0, &out);
}

/* Turns the summary of a push into the text of a notification.
 *
 * ABI `command`: a plain WASI program. The event comes on stdin, the result goes to stdout, log lines to stderr; the
 * exit code is the code. The job sets CHANNEL in its environment.
 */
#include <stdlib.h>
#include <unistd.h>

#include "json.h"

#define LINE_BYTES_MAX 100
#define NOT_A_SUMMARY 1

void *grow(void *block, size_t used, size_t size) {
    (void)used;
    void *bigger = realloc(block, size);
    if (!bigger) abort();
    return bigger;
}

static void read_all(Text *text) {
    char chunk[4096];
    ssize_t count;
    while ((count = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) put_bytes(text, chunk, count);
}

static void write_all(int file, const Text *text) {
    for (size_t done = 0; done < text->length;) {
        ssize_t count = write(file, text->start + done, text->length - done);
        if (count <= 0) exit(2);
        done += count;
    }
}

static void put_failure(Text *out, Json failure) { /* the payload of `result.error`: code, error, event */
    put(out, "A push could not be summarised (code ");
    put_number(out, number(member(failure, "code")));
    put(out, "): ");
    put_line(out, member(failure, "error"), 400);
    put(out, "\n");
}

static void put_headline(Text *out, Json summary) {
    Json action = member(summary, "action"), tag = member(summary, "tag");
    put_line(out, member(summary, "pusher"), LINE_BYTES_MAX);
    if (equals(action, "deleted") || equals(action, "created")) {
        put(out, " ");
        put_line(out, action, LINE_BYTES_MAX);
        put(out, kind(tag) ? " the tag " : " the branch ");
    } else {
        put(out, equals(action, "forced") ? " force-pushed " : " pushed ");
        put_count(out, number(member(summary, "commit_count")), "commit");
        put(out, " to ");
    }
    put_line(out, kind(tag) ? tag : member(summary, "branch"), LINE_BYTES_MAX);
    put(out, " of ");
    put_line(out, member(summary, "repository"), LINE_BYTES_MAX);
    put(out, "\n");
}

static void put_commits(Text *out, Json summary) {
    uint64_t listed = 0, count = number(member(summary, "commit_count"));
    for (Json commit = first(member(summary, "commits")); kind(commit); commit = next(commit), listed++) {
        Text id = {0, 0, 0};
        put_line(&id, member(commit, "id"), 64);
        put(out, "  ");
        put_bytes(out, id.start, id.length < 7 ? id.length : 7);
        put(out, "  ");
        put_line(out, member(commit, "message"), LINE_BYTES_MAX);
        put(out, "  (");
        put_line(out, member(commit, "author"), LINE_BYTES_MAX);
        put(out, ")\n");
    }
    if (count > listed) {
        put(out, "  and ");
        put_number(out, count - listed);
        put(out, " more\n");
    }
}

static void put_files(Text *out, Json files) {
    static const char *const lists[] = {"added", "removed", "modified"};
    int said = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t count = number(member(files, lists[i]));
        if (!count) continue;
        put(out, said++ ? ", " : "Files: ");
        put_number(out, count);
        put(out, " ");
        put(out, lists[i]);
    }
    if (said) put(out, "\n");
}

int main(void) {
    Text in = {0, 0, 0}, out = {0, 0, 0}, log = {0, 0, 0};
    read_all(&in);
    Json event = skip_space((Json){in.start, in.start + in.length});
    const char *channel = getenv("CHANNEL");
    if (channel) {
        put(&out, "To ");
        put(&out, channel);
        put(&out, ": ");
    }
    if (kind(member(event, "repository")) == '"') {
        put_headline(&out, event);
        put_commits(&out, event);
        put_files(&out, member(event, "files"));
        put_line(&out, member(event, "compare"), 1000);
        put(&out, "\n");
    } else if (kind(member(event, "error"))) {
        put_failure(&out, event);
    } else {
        put(&log, "the event is neither the summary of a push nor a failure\n");
        write_all(STDERR_FILENO, &log);
        return NOT_A_SUMMARY;
    }
    put(&log, "wrote a notification of ");
    put_count(&log, out.length, "byte");
    put(&log, "\n");
    write_all(STDERR_FILENO, &log);
    write_all(STDOUT_FILENO, &out);
    return 0;
}

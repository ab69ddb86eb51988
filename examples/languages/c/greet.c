/* A Jobicolet in C: wraps the event in a greeting. */
#include "jobicolet.h"

static int wants_failure(const char *event, size_t size) {
    static const char wanted[] = "\"fail\": true";
    for (size_t at = 0; at + sizeof wanted - 1 <= size; at++) {
        size_t same = 0;
        while (same < sizeof wanted - 1 && event[at + same] == wanted[same]) same++;
        if (same == sizeof wanted - 1) return 1;
    }
    return 0;
}

static int64_t handle(const char *event, size_t size, Reply *reply) {
    log_text(LEVEL_INFO, "greeting somebody");
    if (wants_failure(event, size)) {
        reply_text(reply, "asked to fail");
        return 7;
    }
    reply_text(reply, "{\"greeting\": \"Hello from C\", \"event\": ");
    reply_bytes(reply, event, size);
    reply_text(reply, "}");
    return 0;
}

/* A reader of JSON text in place, and a writer of text: what the two programs share.
 *
 * The platform has validated the event, so the text is JSON; still every step is bounded by the end of the text,
 * and what has another shape than expected reads as absent. Nothing recurses.
 */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *at;
    const char *end;
} Json; /* the rest of a text, at the first character of a value; at == end where there is none */

typedef struct {
    char *start;
    size_t length;
    size_t capacity;
} Text;

void *grow(void *block, size_t used, size_t size); /* each program has its own */

/* --- writing --- */

static void put_bytes(Text *text, const char *bytes, size_t count) {
    if (text->length + count > text->capacity) {
        size_t capacity = (text->length + count) * 2 + 256;
        text->start = grow(text->start, text->length, capacity);
        text->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++) text->start[text->length + i] = bytes[i];
    text->length += count;
}

static void put(Text *text, const char *string) {
    size_t count = 0;
    while (string[count]) count++;
    put_bytes(text, string, count);
}

static void put_number(Text *text, uint64_t number) {
    char digits[20];
    size_t count = sizeof digits;
    do digits[--count] = '0' + number % 10; while (number /= 10);
    put_bytes(text, digits + count, sizeof digits - count);
}

static void put_count(Text *text, uint64_t count, const char *noun) {
    put_number(text, count);
    put(text, " ");
    put(text, noun);
    if (count != 1) put(text, "s");
}

/* --- reading --- */

static Json skip_space(Json json) {
    while (json.at < json.end && (*json.at == ' ' || *json.at == '\n' || *json.at == '\r' || *json.at == '\t')) json.at++;
    return json;
}

static char kind(Json json) { return json.at < json.end ? *json.at : 0; }

static const char *end_of_string(Json json) { /* past the closing quote */
    const char *at = json.at + 1;
    while (at < json.end && *at != '"') at += *at == '\\' ? 2 : 1;
    return at < json.end ? at + 1 : json.end;
}

static Json after_value(Json json) { /* at the comma or bracket behind a value */
    size_t depth = 0;
    while (json.at < json.end) {
        char c = *json.at;
        if (c == '"') {
            json.at = end_of_string(json);
            if (!depth) break;
            continue;
        }
        if (c == '{' || c == '[') depth++;
        if (c == ',' && !depth) break;
        if (c == '}' || c == ']') {
            if (!depth) break;
            if (!--depth) {
                json.at++;
                break;
            }
        }
        json.at++;
    }
    return skip_space(json);
}

static Json first(Json json) { /* the first item of a list or the first key of an object; absent if it is empty */
    char close = kind(json) == '[' ? ']' : kind(json) == '{' ? '}' : 0;
    Json absent = {json.end, json.end};
    if (!close) return absent;
    json.at++;
    json = skip_space(json);
    return kind(json) == close ? absent : json;
}

static Json next(Json json) { /* the item behind this one */
    json = after_value(json);
    Json absent = {json.end, json.end};
    if (kind(json) != ',') return absent;
    json.at++;
    return skip_space(json);
}

static Json value_of(Json key) { /* the value behind a key */
    key.at = end_of_string(key);
    key = skip_space(key);
    if (kind(key) == ':') key.at++;
    return skip_space(key);
}

static int hex(const char *at) { /* four digits; -1 if they are none */
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Reads one character of a string at *at into `utf8`; gives its length in bytes, 0 at the closing quote. */
static int read_character(const char **at, const char *end, char utf8[4]) {
    if (*at >= end || **at == '"') return 0;
    if (**at != '\\') {
        utf8[0] = *(*at)++;
        return 1;
    }
    if (*at + 1 >= end) return 0;
    char escape = (*at)[1];
    *at += 2;
    static const char names[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    for (int i = 0; names[i]; i++) {
        if (escape == names[i]) {
            utf8[0] = meanings[i];
            return 1;
        }
    }
    if (escape != 'u' || end - *at < 4) {
        utf8[0] = escape;
        return 1;
    }
    int code = hex(*at);
    *at += 4;
    if (code >= 0xD800 && code < 0xDC00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        int low = hex(*at + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            *at += 6;
        }
    }
    if (code < 0 || (code >= 0xD800 && code < 0xE000)) code = 0xFFFD;
    if (code < 0x80) {
        utf8[0] = (char)code;
        return 1;
    }
    int length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, code >>= 6) utf8[i] = (char)(0x80 | (code & 0x3F));
    utf8[0] = (char)((length == 2 ? 0xC0 : length == 3 ? 0xE0 : 0xF0) | code);
    return length;
}

static int equals(Json string, const char *expected) {
    if (kind(string) != '"') return 0;
    const char *at = string.at + 1;
    char utf8[4];
    int length;
    while ((length = read_character(&at, string.end, utf8))) {
        for (int i = 0; i < length; i++, expected++) {
            if (*expected != utf8[i]) return 0;
        }
    }
    return !*expected;
}

static Json member(Json object, const char *name) { /* absent where it is missing, or null */
    Json absent = {object.end, object.end};
    if (kind(object) != '{') return absent;
    for (Json key = first(object); kind(key) == '"'; key = next(value_of(key))) {
        if (equals(key, name)) {
            Json value = value_of(key);
            return kind(value) == 'n' ? absent : value;
        }
    }
    return absent;
}

static uint64_t items(Json list) {
    uint64_t count = 0;
    if (kind(list) != '[') return 0;
    for (Json item = first(list); kind(item); item = next(item)) count++;
    return count;
}

static int is_true(Json json) { return kind(json) == 't'; }

static uint64_t number(Json json) { /* a whole number that is not negative; else 0 */
    uint64_t value = 0;
    while (json.at < json.end && *json.at >= '0' && *json.at <= '9' && value < UINT64_MAX / 10 - 1) value = value * 10 + (*json.at++ - '0');
    return value;
}

/* Appends the text of a string: its first line, at most `bytes_max` of it, cut between characters with "…". */
static void put_line(Text *text, Json string, size_t bytes_max) {
    if (kind(string) != '"') return;
    const char *at = string.at + 1;
    char utf8[4];
    int length;
    size_t count = 0;
    while ((length = read_character(&at, string.end, utf8)) && utf8[0] != '\n' && utf8[0] != '\r') {
        int continues = length == 1 && ((unsigned char)utf8[0] & 0xC0) == 0x80; /* bytes that stand as they are */
        if (count >= bytes_max && !continues) {
            put(text, "…");
            return;
        }
        count += length;
        unsigned char c = (unsigned char)utf8[0];
        if (length == 1 && (c < 0x20 || c == 0x7F)) utf8[0] = ' ';
        put_bytes(text, utf8, length);
    }
}

/* Appends bytes as a JSON string; they hold no control characters. */
static void put_quoted(Text *text, const char *bytes, size_t count) {
    put(text, "\"");
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '"' || bytes[i] == '\\') put(text, "\\");
        put_bytes(text, bytes + i, 1);
    }
    put(text, "\"");
}

/* Appends the first line of a string as a JSON string. */
static void put_quoted_line(Text *text, Json string, size_t bytes_max) {
    Text plain = {0, 0, 0};
    put_line(&plain, string, bytes_max);
    put_quoted(text, plain.start, plain.length);
}

#endif

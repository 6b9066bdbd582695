/* Secrets of the task: the command gets them as variables or files, and its log never shows their
 * values. README.md beside this file has the format of the file that they come in. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEAST_HIDDEN = 8, MOST_BYTES = 4 << 20, MOST_SECRETS = 64, MOST_NAME = 64 };

/* A value that the log must not show. `matched` is the length of its longest beginning that the
 * output so far ends with; the next byte that does not go on falls back to a shorter one. */
typedef struct { const char *text; long size, matched, marked; int32_t *shorter; } hidden;

static char *text; /* what the server left; `values` points into it */
static hidden values[MOST_SECRETS];
static int value_count;
static char names[MOST_SECRETS][MOST_NAME + 1];
static int file_count, folder_fd = -1;

/* Output that may turn out to be part of a value, and which of its bytes are. */
static struct { char *bytes; bool *hidden; long used, room; bool in_value; } held;

static bool read_all(int run_dir, long *size) {
    struct stat status;
    int fd = openat(run_dir, "secrets", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    *size = 0;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= MOST_BYTES)
        text = malloc(status.st_size + 1);
    else errno = EINVAL;
    for (long got = 1; text && got > 0 && *size < status.st_size; *size += got)
        if ((got = read(fd, text + *size, status.st_size - *size)) < 0) {
            if (errno == EINTR) { got = 0; continue; }
            free(text), text = NULL;
        }
    int why = errno;
    close(fd);
    errno = why;
    return text != NULL;
}

static bool write_file(const char *name, const char *value, long size) {
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (fd < 0) return false;
    snprintf(names[file_count++], sizeof names[0], "%s", name);
    bool ok = fchmod(fd, 0400) == 0;
    for (long done = 0, wrote; ok && done < size; done += wrote) {
        wrote = write(fd, value + done, size - done);
        if (wrote < 0 && errno == EINTR) wrote = 0;
        ok = wrote >= 0;
    }
    int why = errno;
    close(fd);
    errno = why;
    return ok;
}

/* Programs print a value without the line end that it may have. */
static bool hide(const char *bytes, long size) {
    while (size > 0 && (bytes[size - 1] == '\n' || bytes[size - 1] == '\r')) size--;
    if (size < LEAST_HIDDEN) return true;
    hidden *value = &values[value_count];
    int32_t *shorter = malloc(size * sizeof *shorter);
    if (!shorter) return false;
    shorter[0] = 0;
    for (long i = 1, matched = 0; i < size; i++) {
        while (matched && bytes[i] != bytes[matched]) matched = shorter[matched - 1];
        if (bytes[i] == bytes[matched]) matched++;
        shorter[i] = (int32_t)matched;
    }
    *value = (hidden){bytes, size, 0, 0, shorter};
    value_count++;
    return true;
}

bool take_secrets(int run_dir, const char *folder) {
    long size, at = 0;
    if (!read_all(run_dir, &size)) return false;
    unlinkat(run_dir, "secrets", 0);
    text[size] = 0;
    for (int count = 0; at < size; count++) {
        char kind, name[MOST_NAME + 1];
        int head = 0;
        long length = -1;
        bool is_head = sscanf(text + at, "%c %64[A-Za-z0-9_] %ld%n", &kind, name, &length, &head) == 3;
        if (!is_head || count == MOST_SECRETS || length < 0 || text[at + head] != '\n' ||
            length > size - at - head - 2) {
            errno = EINVAL;
            return false;
        }
        char *value = text + at + head + 1;
        at += head + 1 + length + 1;
        value[length] = 0;
        if (kind == 'f' && folder_fd < 0)
            folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (kind == 'f' ? folder_fd < 0 || !write_file(name, value, length)
                        : setenv(name, value, 1) != 0) return false;
        if (!hide(value, length)) return false;
    }
    return true;
}

void remove_secrets(void) {
    for (int i = 0; i < file_count; i++) unlinkat(folder_fd, names[i], 0);
}

static bool make_room(long more) {
    long room = held.used + more;
    if (room <= held.room) return true;
    char *bytes = realloc(held.bytes, room);
    if (bytes) held.bytes = bytes;
    bool *marks = realloc(held.hidden, room * sizeof *marks);
    if (marks) held.hidden = marks;
    if (!bytes || !marks) return false;
    held.room = room;
    return true;
}

/* Marks the values that end in what came after `from`, and answers how much of the end of the output
 * may be the beginning of another one. */
static long find_values(long from) {
    long open = 0;
    for (hidden *value = values; value < values + value_count; value++) {
        long matched = value->matched;
        value->marked = 0;
        for (long at = from; at < held.used; at++) {
            if (!matched) { /* most output begins no value */
                char *next = memchr(held.bytes + at, value->text[0], held.used - at);
                if (!next) break;
                at = next - held.bytes;
            }
            while (matched && held.bytes[at] != value->text[matched])
                matched = value->shorter[matched - 1];
            if (held.bytes[at] == value->text[matched]) matched++;
            if (matched < value->size) continue;
            long begin = at + 1 - value->size;
            if (begin < value->marked) begin = value->marked;
            memset(held.hidden + begin, true, at + 1 - begin);
            value->marked = at + 1;
            matched = value->shorter[matched - 1];
        }
        value->matched = matched;
        if (matched > open) open = matched;
    }
    return open;
}

static void pass_on(long size, void (*write_out)(const char *, long)) {
    for (long at = 0, end; at < size; at = end) {
        bool is_hidden = held.hidden[at];
        for (end = at + 1; end < size && held.hidden[end] == is_hidden; end++) {}
        if (!is_hidden) write_out(held.bytes + at, end - at);
        else if (!held.in_value) write_out("***", 3);
        held.in_value = is_hidden;
    }
    held.used -= size;
    memmove(held.bytes, held.bytes + size, held.used);
    memmove(held.hidden, held.hidden + size, held.used * sizeof *held.hidden);
}

void write_redacted(const char *bytes, long size, void (*write_out)(const char *, long)) {
    if (!value_count) {
        write_out(bytes, size);
        return;
    }
    if (!make_room(size)) return; /* without memory the output is lost, never shown unchecked */
    memcpy(held.bytes + held.used, bytes, size);
    memset(held.hidden + held.used, false, size * sizeof *held.hidden);
    long from = held.used;
    held.used += size;
    pass_on(held.used - find_values(from), write_out);
}

void write_held(void (*write_out)(const char *, long)) {
    if (held.used) pass_on(held.used, write_out);
}

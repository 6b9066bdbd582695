/* The file with the command's variables. */
#define _GNU_SOURCE
#include "shim.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void remove_variables(const char *prefix) {
    size_t length = strlen(prefix);
    for (char **each = environ; *each;) {
        char *equals = strchr(*each, '=');
        if (!equals || !length || strncmp(*each, prefix, length) != 0) {
            each++;
            continue;
        }
        char *name = strndup(*each, equals - *each);
        if (!name || unsetenv(name) != 0) each++;
        free(name);
    }
}

bool add_environment(const char *path) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    long size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), done = 0, part;
    char *all = size < 0 ? NULL : calloc(size + 1, 1); /* stays: the environment is in it */
    while (all && done < size && (part = pread(fd, all + done, size - done, done)) > 0) done += part;
    if (fd >= 0) close(fd);
    if (!all || done < size) return false;
    for (char *each = all; each < all + size; each += strlen(each) + 1) {
        if (!strchr(each, '=')) remove_variables(each);
        else if (putenv(each) != 0) return false;
    }
    return true;
}

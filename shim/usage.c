/* What the processes of an attempt have used, as the kernel counts it: for a server that does not
 * see them, because they run on another machine. A process that ends is counted on by the one that
 * waits for it. README.md has the record. */
#define _GNU_SOURCE
#include "shim.h"
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PROCESSES = 1024, MOST_THREADS = 4096 /* in all */ };
static pid_t members[MOST_PROCESSES];
static int count, threads;

/* The processes that the threads of one have started. */
static void add_children(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks)) && threads < MOST_THREADS;) {
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        threads++;
        snprintf(path, sizeof path, "/proc/%d/task/%.10s/children", pid, entry->d_name);
        FILE *children = fopen(path, "re");
        for (pid_t child; children && count < MOST_PROCESSES && fscanf(children, "%d", &child) == 1;)
            members[count++] = child;
        if (children) fclose(children);
    }
    if (tasks) closedir(tasks);
}

static void add_use(pid_t pid, long *ticks, long *pages, long *read_bytes, long *written_bytes) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    char *rest = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    long user, system, of_children_user, of_children_system, resident;
    if (rest && sscanf(rest + 1, " %*s %*s%*s%*s%*s%*s%*s%*s%*s%*s%*s %ld %ld %ld %ld"
                       " %*s%*s%*s%*s%*s%*s %ld", &user, &system, &of_children_user,
                       &of_children_system, &resident) == 5)
        *ticks += user + system + of_children_user + of_children_system, *pages += resident;
    if (file) fclose(file);
    snprintf(path, sizeof path, "/proc/%d/io", pid);
    long bytes;
    for (file = fopen(path, "re"); file && fgets(line, sizeof line, file);)
        if (sscanf(line, "read_bytes: %ld", &bytes) == 1) *read_bytes += bytes;
        else if (sscanf(line, "write_bytes: %ld", &bytes) == 1) *written_bytes += bytes;
    if (file) fclose(file);
}

void record_usage(int run_dir, long at_ms) {
    long ticks = 0, pages = 0, read_bytes = 0, written_bytes = 0;
    members[0] = getpid(), count = 1, threads = 0;
    for (int i = 0; i < count; i++) {
        add_use(members[i], &ticks, &pages, &read_bytes, &written_bytes);
        add_children(members[i]);
    }
    int fd = openat(run_dir, "usage.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return;
    bool whole = dprintf(fd, "at_ms=%ld\ncpu_ms=%ld\nmemory_kb=%ld\nread_kb=%ld\nwrite_kb=%ld\n",
                         at_ms, ticks * 1000 / sysconf(_SC_CLK_TCK),
                         pages * (sysconf(_SC_PAGESIZE) / 1024), read_bytes >> 10,
                         written_bytes >> 10) > 0;
    if (close(fd) == 0 && whole) renameat(run_dir, "usage.tmp", run_dir, "usage");
}

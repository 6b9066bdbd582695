/* When the bytes of the log were written, so that a reader can tell when a line was. Of too many notes
 * every second one goes, and the next are further apart. README.md has the record. */
#define _GNU_SOURCE
#include "shim.h"
#include <fcntl.h>
#include <unistd.h>

#ifndef MOST_TIMES /* tests build with less */
enum { MOST_TIMES = 1 << 16, TIMES_APART_MS = 1000 };
#endif
static struct { long at_ms, offset; } times[MOST_TIMES];
static long count, apart_ms = TIMES_APART_MS;
static int file = -1;

/* Drops every second note; false if the file cannot be written. */
static bool halve(void) {
    for (long i = 0; i < MOST_TIMES / 2; i++) times[i] = times[2 * i];
    count = MOST_TIMES / 2, apart_ms *= 2;
    const long size = count * sizeof times[0];
    return pwrite(file, times, size, 0) == size && ftruncate(file, size) == 0;
}

void record_log_time(int run_dir, long at_ms, long offset) {
    if (count && at_ms - times[count - 1].at_ms < apart_ms) return;
    if (file < 0)
        file = openat(run_dir, "times", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (count == MOST_TIMES && !halve()) return;
    times[count].at_ms = at_ms, times[count].offset = offset;
    const long size = sizeof times[0];
    if (pwrite(file, &times[count], size, count * size) == size) count++;
}

/* The lifeline of a container that is no child of its job: a FIFO that the job's processes hold open
 * for writing. The kernel closes it when the last of them has ended, however that was. Then nothing in
 * the container may go on. A process of its own watches, since the shim may hang in its folder.
 * README.md has the protocol. */
#define _GNU_SOURCE
#include "shim.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KILL_AGAIN_MS = 20 };
static volatile int *lost; /* in memory that both share */
static pid_t guard;

/* A FIFO that never had a writer does not hang up: reading tells. */
static bool has_writer(int lifeline) {
    char byte;
    return read(lifeline, &byte, 1) != 0;
}

static void watch(pid_t shim, int lifeline) {
    struct pollfd ready = {lifeline, POLLIN, 0};
    while (has_writer(lifeline)) poll(&ready, 1, -1);
    *lost = 1;
    for (;;) kill_children(shim), poll(NULL, 0, KILL_AGAIN_MS);
}

bool hold_lifeline(const char *path) {
    pid_t shim = getpid();
    int lifeline = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (lifeline < 0 || !has_writer(lifeline)) return false;
    lost = mmap(NULL, sizeof *lost, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (lost == MAP_FAILED || (guard = fork()) < 0) return lost = NULL, false;
    if (guard == 0) end_with(shim), keep_program_in_memory(), watch(shim, lifeline);
    close(lifeline);
    return true;
}

bool lost_lifeline(pid_t ended) {
    if (lost && ended == guard) *lost = 1; /* nobody would notice */
    return lost && *lost;
}

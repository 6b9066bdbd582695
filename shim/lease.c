/* The lease of an attempt on a cluster. The command may run only as long as this shim can renew a
 * file on the shared folder: so a server that has seen no renewal for longer than that may start
 * another attempt. The folder may hang, and the shim with it. So one process renews, and another,
 * which never touches the folder, kills. README.md has the protocol. */
#define _GNU_SOURCE
#include "shim.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RENEWALS = 4 /* in the time of a lease */, KILL_AGAIN_MS = 20 };
static struct { volatile int renewed, lost; } *lease; /* in memory that all three share */
static pid_t guard;

/* Reports the start of each renewal that succeeded: the lease counts from there. */
static void renew(int run_dir, int renewals, long every_ms) {
    for (;;) {
        long began = now_ms(CLOCK_BOOTTIME);
        int fd = openat(run_dir, "lease", O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
        struct timespec times[2]; /* set, so that a full disk is no reason to lose it */
        clock_gettime(CLOCK_REALTIME, &times[0]), times[1] = times[0];
        bool ok = fd >= 0 && futimens(fd, times) == 0 && fsync(fd) == 0;
        if (fd >= 0) ok &= close(fd) == 0;
        if (ok && write(renewals, &began, sizeof began) != sizeof began) _exit(0);
        poll(NULL, 0, (int)every_ms);
    }
}

/* What the killed leave becomes children of the shim, and is killed next. */
static void kill_children(pid_t shim) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", shim, shim);
    FILE *children = fopen(path, "re");
    for (pid_t pid; children && fscanf(children, "%d", &pid) == 1;)
        if (pid != getpid()) kill(pid, SIGKILL);
    if (children) fclose(children);
}

/* This program is a file of the shared folder too: the guard must not wait for a page of it. */
static void keep_program_in_memory(void) {
    extern char __executable_start[], edata[];
    for (volatile char *page = __executable_start; page < edata; page += 4096) (void)*page;
    (void)!mlock(__executable_start, edata - __executable_start);
}

static void watch(pid_t shim, int renewals, long until, long lease_ms) {
    struct pollfd ready = {renewals, POLLIN, 0};
    while (!lease->lost) {
        long left = until - now_ms(CLOCK_BOOTTIME), began;
        if (left > 0 && poll(&ready, 1, left < 1000 ? (int)left : 1000) > 0) {
            if (read(renewals, &began, sizeof began) != sizeof began) break; /* nobody renews */
            if (now_ms(CLOCK_BOOTTIME) < until) until = began + lease_ms, lease->renewed = 1;
        }
        if (now_ms(CLOCK_BOOTTIME) >= until) lease->lost = 1;
    }
    lease->lost = 1;
    for (;;) kill_children(shim), poll(NULL, 0, KILL_AGAIN_MS);
}

static void end_with(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0); /* it died before the line above */
}

bool take_lease(int run_dir, long lease_ms) {
    pid_t shim = getpid();
    long began = now_ms(CLOCK_BOOTTIME);
    lease = mmap(NULL, sizeof *lease, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (lease == MAP_FAILED || (guard = fork()) < 0) return lease = NULL, false;
    if (guard == 0) {
        int ends[2];
        end_with(shim);
        pid_t self = getpid();
        if (pipe2(ends, O_CLOEXEC) != 0) _exit(1);
        pid_t renewer = fork();
        if (renewer < 0) _exit(1);
        if (renewer == 0) end_with(self), close(ends[0]), renew(run_dir, ends[1], lease_ms / RENEWALS);
        close(ends[1]);
        keep_program_in_memory();
        watch(shim, ends[0], began + lease_ms, lease_ms);
    }
    while (!lease->renewed && !lease->lost && waitpid(guard, NULL, WNOHANG) == 0) poll(NULL, 0, 2);
    return lease->renewed && !lease->lost;
}

bool lost_lease(pid_t ended) {
    if (lease && ended == guard) lease->lost = 1; /* nobody would notice */
    return lease && lease->lost;
}

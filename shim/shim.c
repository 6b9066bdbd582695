/* The first process of every task. It waits at the gate, claims the attempt, runs the command as a
 * child, keeps the end of its output, leaves no descendant behind and records the true end on disk.
 * README.md beside this file is the reference of the protocol with the server. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BAD_USAGE = 64, CLAIM_EXISTS = 120, NOT_CLAIMED = 125, NOT_STARTED = 126, NOT_FOUND = 127,
       HOUR_MS = 3600000 };
static const long NEVER = 4000000000000000000; /* ms; long has 64 bits wherever this runs */
static struct { const char *dir, *cwd; long segment_bytes, grace_ms, timeout_ms; } options;
static struct { int fd, error; long bytes; } output_log = {.fd = -1};
static volatile struct { /* volatile, since the child made by vfork() writes here too */
    const char *failed;
    int error, code, signal, timed_out, stopped;
    long started_ms, at_ms;
} end;
static int run_dir, signal_fd, null_fd;
static sigset_t handled_signals;

static long now_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static long number(const char *option, const char *text, long least) {
    char *rest;
    long value = strtol(text, &rest, 10);
    if (rest == text || *rest || value < least || value > 1000000000000000) /* far from overflow */
        errx(BAD_USAGE, "%s takes a whole number from %ld to 10^15, not '%s'", option, least, text);
    return value;
}

/* The command with its arguments. */
static char **parse(char **argument) {
    options.segment_bytes = options.grace_ms = -1, options.timeout_ms = NEVER;
    for (; argument[0] && argument[1] && strcmp(argument[0], "--") != 0; argument += 2) {
        const char *name = argument[0], *value = argument[1];
        if (!strcmp(name, "--dir")) options.dir = value;
        else if (!strcmp(name, "--cwd")) options.cwd = value;
        else if (!strcmp(name, "--segment-bytes")) options.segment_bytes = number(name, value, 1);
        else if (!strcmp(name, "--grace-ms")) options.grace_ms = number(name, value, 0);
        else if (!strcmp(name, "--timeout-ms")) options.timeout_ms = number(name, value, 1);
        else errx(BAD_USAGE, "unknown option '%s'", name);
    }
    if (!options.dir || options.segment_bytes < 0 || options.grace_ms < 0 || !*argument || !argument[1])
        errx(BAD_USAGE, "usage: --dir RUN --segment-bytes N --grace-ms N [--timeout-ms N] [--cwd DIR] "
                        "-- COMMAND [ARG...]");
    return argument + 1;
}

static void take_over_signals(void) {
    const int handled[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) sigaddset(&handled_signals, handled[i]);
    signal(SIGCHLD, SIG_DFL); /* inherited as ignored, it would lose the exit status */
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is one more failed log write */
    sigprocmask(SIG_SETMASK, &handled_signals, NULL); /* what is blocked is kept, even for PID 1 */
    signal_fd = signalfd(-1, &handled_signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The next pending signal, or 0. SIGCHLD only wakes: waitid() has its news. */
static int next_signal(void) {
    struct signalfd_siginfo info;
    while (read(signal_fd, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD) return (int)info.ssi_signo;
    return 0;
}

static void wait_at_gate(void) {
    int gate = openat(run_dir, "gate", O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (gate < 0) err(NOT_CLAIMED, "cannot open the gate");
    struct pollfd ready[] = {{gate, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    while (faccessat(run_dir, "open", F_OK, 0) != 0) {
        if (ready[0].revents) errx(NOT_CLAIMED, "the gate was written to, but no file 'open' exists");
        poll(ready, 2, -1);
        int signal = next_signal();
        if (signal) exit(128 + signal);
    }
    close(gate);
}

static int create(const char *name) {
    return openat(run_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

static void scan_proc(const char *path, const char *format, char *value) {
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file, format, value) != 1) err(NOT_CLAIMED, "cannot read %s", path);
    fclose(file);
}

/* The command will not run: what failed, by errno. */
static void fail(const char *what) {
    end.failed = what, end.error = errno;
    end.code = errno == ENOENT ? NOT_FOUND : NOT_STARTED;
}

static void claim_attempt(void) {
    char start_time[32], boot_id[40];
    prctl(PR_SET_NAME, "shim"); /* field 2 of stat: now without a bracket of its own */
    scan_proc("/proc/self/stat", "%*[^)]) %*s" "%*s%*s%*s%*s%*s%*s%*s%*s%*s" /* 4 to 12 */
              "%*s%*s%*s%*s%*s%*s%*s%*s%*s" /* 13 to 21 */ "%31s", start_time);
    scan_proc("/proc/sys/kernel/random/boot_id", "%39s", boot_id);
    int fd = create("claim");
    if (fd < 0) err(errno == EEXIST ? CLAIM_EXISTS : NOT_CLAIMED, "cannot claim this attempt");
    if (dprintf(fd, "pid=%d\nstarttime=%s\nboot_id=%s\n", getpid(), start_time, boot_id) < 0 ||
        fsync(fd) != 0 || close(fd) != 0 || fsync(run_dir) != 0) fail("make the claim durable");
}

static void open_segment(void) {
    char name[32];
    snprintf(name, sizeof name, "log.%020ld", output_log.bytes);
    output_log.fd = create(name);
    snprintf(name, sizeof name, "log.%020ld", output_log.bytes - 2 * options.segment_bytes);
    if (output_log.fd < 0) output_log.error = errno;
    else unlinkat(run_dir, name, 0); /* the newest two stay */
}

/* Moves one block from the pipe to the log; answers as read() does. What cannot be written is dropped
 * and not counted: a full disk never stops the command, and a segment ends where the next begins. */
static long copy_output(int output) {
    static char block[1 << 16];
    long size = read(output, block, sizeof block);
    for (long done = 0; done < size;) {
        if (output_log.fd < 0) open_segment();
        if (output_log.fd < 0) break;
        long room = options.segment_bytes - output_log.bytes % options.segment_bytes;
        long wanted = size - done < room ? size - done : room;
        long written = write(output_log.fd, block + done, (size_t)wanted);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) { output_log.error = errno; break; }
        output_log.bytes += written, done += written;
        if (written == room) close(output_log.fd), output_log.fd = -1;
    }
    return size;
}

/* The command's pid, or -1 after fail(). *output is the pipe's reading end, which never blocks. */
static pid_t start(char **command, int *output) {
    int ends[2];
    pid_t shim = getpid(), pid = pipe2(ends, O_CLOEXEC) == 0 ? vfork() : -1;
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != shim) _exit(NOT_STARTED); /* it died before the line above */
        dup2(null_fd, 0), dup2(ends[1], 1), dup2(ends[1], 2);
        for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &handled_signals, NULL);
        execvp(command[0], command);
    }
    if (pid <= 0) fail(pid == 0 ? "start the command" : "make a process");
    if (pid == 0) _exit(NOT_STARTED);
    if (end.failed) return -1;
    close(ends[1]);
    fcntl(*output = ends[0], F_SETFL, O_NONBLOCK);
    return pid;
}

/* To the group, and to the command itself, which may have left its group. */
static void signal_command(pid_t command, int signal) {
    if (kill(-command, signal) != 0 || signal == SIGKILL) kill(command, signal);
}

/* Reaps what ended, up to the command: true when it did. Its group is killed while its zombie still
 * keeps the number from being used again. */
static bool reap(pid_t command, int *status) {
    for (siginfo_t info; waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;) {
        if (info.si_pid == command) kill(-command, SIGKILL);
        waitpid(info.si_pid, status, 0);
        if (info.si_pid == command) return true;
    }
    return false;
}

static void supervise(pid_t command, int output) {
    int status;
    long started = now_ms(CLOCK_MONOTONIC), deadline = started + options.timeout_ms;
    bool stopping = false; /* the deadline is then that of the grace period */
    struct pollfd ready[] = {{signal_fd, POLLIN, 0}, {output, POLLIN, 0}};
    while (!reap(command, &status)) {
        long now = now_ms(CLOCK_MONOTONIC);
        if (now >= deadline) {
            signal_command(command, stopping ? SIGKILL : SIGTERM);
            if (!stopping) end.timed_out = 1;
            deadline = stopping ? NEVER : now + options.grace_ms, stopping = true;
        }
        poll(ready, 2, deadline - now < HOUR_MS ? (int)(deadline - now) : HOUR_MS);
        if (ready[1].revents && copy_output(output) == 0) ready[1].fd = -1;
        for (int signal; (signal = next_signal());) {
            signal_command(command, signal);
            if (signal != SIGTERM) continue;
            end.stopped = 1;
            if (!stopping) deadline = now_ms(CLOCK_MONOTONIC) + options.grace_ms, stopping = true;
        }
    }
    end.at_ms = end.started_ms + now_ms(CLOCK_MONOTONIC) - started;
    end.signal = WTERMSIG(status), end.code = WEXITSTATUS(status); /* one of them is 0 */
}

/* The children of the killed become ours, until none is left. This waits as long as a dying process
 * takes: its GPU isn't free before. */
static void end_descendants(void) {
    for (bool killed = true; killed && waitpid(-1, NULL, WNOHANG) != -1;) {
        killed = getpid() == 1 && kill(-1, SIGKILL) == 0; /* a whole container at one stroke */
        FILE *children = fopen("/proc/thread-self/children", "re");
        for (pid_t pid; children && fscanf(children, "%d", &pid) == 1;) killed |= kill(pid, SIGKILL) == 0;
        if (children) fclose(children);
        if (killed) waitpid(-1, NULL, 0);
    }
}

static void record_start(pid_t pid) {
    int fd = create("started.tmp");
    if (dprintf(fd, "at_ms=%ld\npid=%d\n", end.started_ms, pid) < 0 || close(fd) != 0 ||
        renameat(run_dir, "started.tmp", run_dir, "started") != 0) warn("cannot record the start");
}

static bool record_end(int fd) {
    bool done = dprintf(fd, "%s=%d\nat_ms=%ld\nstarted_ms=%ld\n", end.signal ? "signal" : "code",
                        end.signal ? end.signal : end.code, end.at_ms, end.started_ms) > 0 &&
                dprintf(fd, "timed_out=%d\nstopped=%d\nlog_bytes=%ld\n", end.timed_out, end.stopped,
                        output_log.bytes) > 0;
    if (output_log.error) done &= dprintf(fd, "log_error=%s\n", strerror(output_log.error)) > 0;
    if (end.failed) done &= dprintf(fd, "error=cannot %s: %s\n", end.failed, strerror(end.error)) > 0;
    return done && fsync(fd) == 0 && renameat(run_dir, "exit.tmp", run_dir, "exit") == 0 &&
           fsync(run_dir) == 0;
}

static void run(char **command) {
    int output;
    pid_t pid = start(command, &output);
    if (pid < 0) return;
    record_start(pid);
    supervise(pid, output);
    end_descendants();
    /* No more than the pipe can hold: a stranger may have its other end and go on writing. */
    long left = fcntl(output, F_GETPIPE_SZ);
    for (long size; left > 0 && (size = copy_output(output)) > 0;) left -= size;
}

int main(int argc, char **argv) {
    take_over_signals();
    char **command = parse(argv + (argc > 0));
    do null_fd = open("/dev/null", O_RDWR | O_CLOEXEC); while (null_fd >= 0 && null_fd <= 2);
    run_dir = open(options.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (null_fd < 0 || run_dir < 0) err(NOT_CLAIMED, "cannot open /dev/null or %s", options.dir);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    wait_at_gate();
    claim_attempt();
    int record = create("exit.tmp");
    fallocate(record, FALLOC_FL_KEEP_SIZE, 0, 4096); /* a disk that fills up must not lose the end */
    open_segment();
    end.started_ms = end.at_ms = now_ms(CLOCK_REALTIME);
    if (!end.failed && options.cwd && chdir(options.cwd) != 0) fail("enter the working directory");
    if (!end.failed) run(command);
    if (!record_end(record) && !record_end(create("exit.tmp"))) warn("cannot record the end");
    return end.signal ? 128 + end.signal : end.code;
}

/* The first process of every task. It waits at the gate, claims the attempt, runs the command as a
 * child, keeps the end of its output, leaves no descendant behind and records the true end on disk.
 * README.md beside this file is the reference of the protocol with the server. */
#define _GNU_SOURCE
#include "shim.h"
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLAIM_EXISTS = 120, NO_ROOM = 121, WRONG_VOLUME = 122, NOT_CLAIMED = 125 };
static const long NEVER = 4000000000000000000; /* ms; long has 64 bits wherever this runs */
static struct { const char *dir, *cwd, *env, *secrets, *control, *relay, *sampler,
                            *gateway;
                long segment_bytes, grace_ms, timeout_ms, warn_ms, usage_ms, lease_ms, control_ms; }
    options = {.control_ms = 1000};
static struct { int fd, error; long bytes; } output_log = {.fd = -1};
static volatile struct { long started_ms, at_ms; int code, signal, timed_out, stopped, warned, error;
                         const char *failed; } end; /* volatile: vfork()'s child writes here too */
static long began_ms; /* as end.started_ms, by the monotonic clock */
static int run_dir, null_fd;
int signal_fd;
static sigset_t handled_signals;
static bool woken;

long now_ms(int clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Ends unless a folder is the one that the server has checked. Between the check and the mount a link
 * may have been put in its place. */
static void require_volume(const char *value) {
    unsigned long device, inode;
    struct stat found;
    int length = 0;
    if (sscanf(value, "%lu:%lu:%n", &device, &inode, &length) != 2 || !length)
        errx(BAD_USAGE, "no DEVICE:INODE:PATH: %s", value);
    const char *path = value + length;
    if (stat(path, &found) != 0 || found.st_dev != device || found.st_ino != inode)
        errx(WRONG_VOLUME, "%s is not the folder that was checked: it was replaced", path);
}

static char **parse(char **arg) { /* answers the command and its arguments */
    options.segment_bytes = options.grace_ms = -1, options.timeout_ms = options.usage_ms = NEVER;
    for (; arg[0] && arg[1] && strcmp(arg[0], "--") != 0; arg += 2) {
        char *name = arg[0], *value = arg[1], *rest;
        long number = strtol(value, &rest, 10);
        bool valid = rest != value && !*rest && number >= 0 && number <= 1000000000000000;
        if (!strcmp(name, "--dir")) options.dir = value;
        else if (!strcmp(name, "--cwd")) options.cwd = value;
        else if (!strcmp(name, "--env")) options.env = value;
        else if (!strcmp(name, "--secrets")) options.secrets = value;
        else if (!strcmp(name, "--control")) options.control = value;
        else if (!strcmp(name, "--relay")) options.relay = value;
        else if (!strcmp(name, "--sampler")) options.sampler = value;
        else if (!strcmp(name, "--gateway")) options.gateway = value;
        else if (!strcmp(name, "--volume")) require_volume(value);
        else if (valid && !strcmp(name, "--segment-bytes")) options.segment_bytes = number;
        else if (valid && !strcmp(name, "--grace-ms")) options.grace_ms = number;
        else if (valid && !strcmp(name, "--timeout-ms")) options.timeout_ms = number;
        else if (valid && !strcmp(name, "--warn-ms")) options.warn_ms = number;
        else if (valid && number && !strcmp(name, "--usage-ms")) options.usage_ms = number;
        else if (valid && number >= 100 && !strcmp(name, "--lease-ms")) options.lease_ms = number;
        else if (valid && number && !strcmp(name, "--control-ms")) options.control_ms = number;
        else errx(BAD_USAGE, "unknown option, or no whole number up to 10^15: %s %s", name, value);
    }
    if (!options.dir || options.segment_bytes < 1 || options.grace_ms < 0 || !arg[0] || !arg[1])
        errx(BAD_USAGE, "--dir, --segment-bytes (1 or more), --grace-ms and -- COMMAND are needed");
    return arg + 1;
}

void take_over_signals(void) {
    const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGWINCH};
    for (int i = 0; i < 7; i++) sigaddset(&handled_signals, handled[i]);
    signal(SIGCHLD, SIG_DFL); /* inherited as ignored, it would lose the exit status */
    signal(SIGXFSZ, SIG_IGN), signal(SIGPIPE, SIG_IGN); /* a failed write has its errno */
    sigprocmask(SIG_SETMASK, &handled_signals, NULL); /* what is blocked is kept, even for PID 1 */
    signal_fd = signalfd(-1, &handled_signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The next pending signal, or 0. SIGCHLD only wakes: waitid() has its news. So does SIGWINCH, by
 * which the server asks for a look at its folder: no program ends by it. */
int next_signal(void) {
    struct signalfd_siginfo info;
    while (read(signal_fd, &info, sizeof info) == sizeof info) {
        woken |= info.ssi_signo == SIGWINCH;
        if (info.ssi_signo != SIGCHLD && info.ssi_signo != SIGWINCH) return (int)info.ssi_signo;
    }
    return 0;
}

static void wait_at_gate(void) {
    int gate = openat(run_dir, "gate", O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (gate < 0) err(NOT_CLAIMED, "cannot open the gate");
    struct pollfd ready[] = {{gate, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    while (faccessat(run_dir, "open", F_OK, 0) != 0) {
        if (ready[0].revents) errx(NOT_CLAIMED, "the gate has a byte, but there is no file 'open'");
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
    end.failed = what, end.error = errno, end.code = errno == ENOENT ? NOT_FOUND : NOT_STARTED;
}

/* Makes the attempt ours and answers the record of its end. Claim and end are written under names
 * of this shim's own: on a full disk nothing is claimed, and nothing is left. */
static int claim_attempt(void) {
    char start_time[32], boot_id[40], claim[64], record_name[64];
    scan_proc("/proc/self/stat", "%*[^)]) %*s" "%*s%*s%*s%*s%*s%*s%*s%*s%*s" /* 4 to 12 */
              "%*s%*s%*s%*s%*s%*s%*s%*s%*s" /* 13 to 21 */ "%31s", start_time);
    scan_proc("/proc/sys/kernel/random/boot_id", "%39s", boot_id);
    if (faccessat(run_dir, "claim", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        errx(CLAIM_EXISTS, "this attempt is claimed already");
    snprintf(claim, sizeof claim, "claim.%d.%s", getpid(), start_time);
    snprintf(record_name, sizeof record_name, "exit.%d.%s", getpid(), start_time);
    int fd = create(claim), record = create(record_name);
    bool claimed = fd >= 0 && record >= 0 &&
        dprintf(fd, "pid=%d\nstarttime=%s\nboot_id=%s\n", getpid(), start_time, boot_id) > 0 &&
        fsync(fd) == 0 && /* a full disk must not lose the end */
        (fallocate(record, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0 || errno == EOPNOTSUPP) &&
        linkat(run_dir, claim, run_dir, "claim", 0) == 0;
    int why = errno;
    if (fd >= 0) unlinkat(run_dir, claim, 0), close(fd);
    if (!claimed) {
        if (record >= 0) unlinkat(run_dir, record_name, 0);
        errno = why;
        err(why == EEXIST ? CLAIM_EXISTS : why == ENOSPC || why == EDQUOT ? NO_ROOM : NOT_CLAIMED,
            "cannot claim this attempt");
    }
    if (renameat(run_dir, record_name, run_dir, "exit.tmp") != 0 || fsync(run_dir) != 0)
        fail("make the claim durable");
    return record;
}

static bool open_segment(void) {
    char name[32];
    snprintf(name, sizeof name, "log.%020ld", output_log.bytes);
    output_log.fd = create(name);
    snprintf(name, sizeof name, "log.%020ld", output_log.bytes - 2 * options.segment_bytes);
    if (output_log.fd < 0) output_log.error = errno;
    else unlinkat(run_dir, name, 0); /* the newest two stay */
    return output_log.fd >= 0;
}

/* What cannot be written is dropped and not counted: a full disk stops nothing, and segments still
 * join without a gap. */
static void write_log(const char *bytes, long size) {
    for (long done = 0; done < size;) {
        if (output_log.fd < 0 && !open_segment()) break;
        long room = options.segment_bytes - output_log.bytes % options.segment_bytes;
        long written = write(output_log.fd, bytes + done, size - done < room ? size - done : room);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) { output_log.error = errno; break; }
        output_log.bytes += written, done += written;
        if (written == room) close(output_log.fd), output_log.fd = -1;
    }
}

/* Moves one block from the pipe to the log, answers as read() does. */
static long copy_output(int output) {
    static char block[1 << 16];
    long size = read(output, block, sizeof block);
    if (size > 0) {
        long at_ms = end.started_ms + now_ms(CLOCK_MONOTONIC) - began_ms;
        record_log_time(run_dir, at_ms, output_log.bytes);
        write_redacted(block, size, write_log);
    }
    return size;
}

/* Fails or answers the command's pid. *output is the pipe's reading end, which never blocks. */
static pid_t start(char **command, int *output) {
    int ends[2] = {-1, -1};
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
    if (pid == 0) _exit(end.code);
    close(ends[1]);
    fcntl(*output = ends[0], F_SETFL, O_NONBLOCK);
    return pid;
}

/* To the group, and to the command itself, which may have left its group. */
static void signal_command(pid_t command, int signal) {
    if (kill(-command, signal) != 0 || signal == SIGKILL) kill(command, signal);
}

/* True when the command has ended. Its zombie holds its number until its group is killed too. */
static bool reap(pid_t command, int *status) {
    siginfo_t info;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
        woken |= relay_ended(info.si_pid);
        if (info.si_pid == command || lost_lease(info.si_pid))
            kill(-command, SIGKILL);
        waitpid(info.si_pid, status, 0);
        if (info.si_pid == command) return true;
    }
    return false;
}

/* The time limit as the server has changed it, else the present one. The folder is opened each
 * time: then a network disk looks again for a file that was absent. */
static long changed_limit(long present) {
    char text[64] = "", end_of_line = 0;
    long limit = -1;
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int folder = open(options.control, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = folder < 0 ? -1 : openat(folder, "limit", flags);
    bool valid = fd >= 0 && read(fd, text, sizeof text - 1) > 0 &&
        sscanf(text, "timeout_ms=%15ld%c", &limit, &end_of_line) == 2 && end_of_line == '\n' &&
        limit >= 0;
    if (fd >= 0) close(fd);
    if (folder >= 0) close(folder);
    return !valid ? present : limit ? limit : NEVER;
}

static void supervise(pid_t command, int output) {
    int status, stopping = 0; /* once stopping, the deadline is that of the grace period */
    long started = now_ms(CLOCK_MONOTONIC), limit = options.timeout_ms, deadline = started + limit;
    long warning = options.warn_ms ? deadline - options.warn_ms : NEVER;
    long usage_at = started + options.usage_ms, look_at = options.control ? started : NEVER;
    struct pollfd ready[] = {{signal_fd, POLLIN, 0}, {output, POLLIN, 0}};
    while (!reap(command, &status)) {
        long now = now_ms(CLOCK_MONOTONIC);
        if (look_at != NEVER && (woken || now >= look_at || now >= warning || now >= deadline)) {
            woken = false;
            if (options.relay) look_at_entry(options.control, options.relay, run_dir);
            long changed = stopping ? limit : changed_limit(limit);
            if (changed != limit) {
                limit = changed, deadline = started + limit;
                warning = options.warn_ms ? deadline - options.warn_ms : NEVER;
            }
            look_at = now_ms(CLOCK_MONOTONIC) + options.control_ms;
        }
        if (now >= warning && !stopping) signal_command(command, SIGUSR1), end.warned = 1;
        if (now >= warning || stopping) warning = NEVER;
        if (now >= deadline) {
            signal_command(command, stopping ? SIGKILL : SIGTERM);
            end.timed_out |= !stopping;
            deadline = stopping ? NEVER : now + options.grace_ms, stopping = 1;
        }
        if (now >= usage_at) {
            record_usage(run_dir, end.started_ms + now - started);
            usage_at = now_ms(CLOCK_MONOTONIC) + options.usage_ms;
        }
        long next = deadline < warning ? deadline : warning;
        next = next < usage_at ? next : usage_at;
        next = next < look_at ? next : look_at;
        next = next > now ? next - now : 0;
        struct timespec wait = {next / 1000, next % 1000 * 1000000};
        ppoll(ready, 2, &wait, NULL);
        if (ready[1].revents && copy_output(output) == 0) ready[1].fd = -1;
        for (int signal; (signal = next_signal());) {
            signal_command(command, signal);
            if (signal != SIGTERM) continue;
            if (!stopping) deadline = now_ms(CLOCK_MONOTONIC) + options.grace_ms, stopping = 1;
            end.stopped = 1;
        }
    }
    end.at_ms = end.started_ms + now_ms(CLOCK_MONOTONIC) - started;
    end.signal = WTERMSIG(status), end.code = WEXITSTATUS(status); /* one of them is 0 */
}

/* The children of the killed become ours. Waits for each to be gone: its GPU isn't free before. */
void end_descendants(void) {
    for (bool killed = true; killed && waitpid(-1, NULL, WNOHANG) != -1;) {
        killed = getpid() == 1 && kill(-1, SIGKILL) == 0; /* a whole container at one stroke */
        FILE *children = fopen("/proc/thread-self/children", "re");
        for (pid_t pid; children && fscanf(children, "%d", &pid) == 1;)
            killed |= kill(pid, SIGKILL) == 0;
        if (children) fclose(children);
        if (killed) waitpid(-1, NULL, 0);
    }
}

/* A SIGTERM to all processes of a job may end the command before it reaches the shim. */
static void take_late_signals(void) {
    for (int signal; (signal = next_signal());)
        end.stopped |= signal == SIGTERM && (end.signal || end.code);
}

static void record_start(pid_t pid) {
    int fd = create("started.tmp");
    if (dprintf(fd, "at_ms=%ld\npid=%d\n", end.started_ms, pid) < 0 || close(fd) != 0 ||
        renameat(run_dir, "started.tmp", run_dir, "started") != 0) warn("cannot record the start");
}

/* Whether the kernel killed a process of this container, whose cgroup is gone when the shim is. */
static bool ran_out_of_memory(void) {
    const char *counts[] = {"/sys/fs/cgroup/memory.events", /* version 2, version 1 */
                            "/sys/fs/cgroup/memory/memory.oom_control"};
    char line[64];
    bool killed = false;
    for (int i = 0; i < 2 && getpid() == 1; i++) {
        FILE *file = fopen(counts[i], "re");
        while (file && fgets(line, sizeof line, file))
            killed |= !strncmp(line, "oom_kill ", 9) && atol(line + 9) > 0;
        if (file) fclose(file);
    }
    return killed;
}

static bool record_end(int fd) {
    bool ok = dprintf(fd, "%s=%d\nat_ms=%ld\nstarted_ms=%ld\ntimed_out=%d\nstopped=%d\n"
                      "log_bytes=%ld\n", end.signal ? "signal" : "code", end.signal + end.code,
                      end.at_ms, end.started_ms, end.timed_out, end.stopped, output_log.bytes) > 0;
    if (end.warned) ok &= dprintf(fd, "warned=1\n") > 0;
    if (lost_lease(0)) ok &= dprintf(fd, "lease_lost=1\n") > 0;
    if (ran_out_of_memory()) ok &= dprintf(fd, "out_of_memory=1\n") > 0;
    if (output_log.error) ok &= dprintf(fd, "log_error=%s\n", strerror(output_log.error)) > 0;
    if (end.failed) ok &= dprintf(fd, "error=cannot %s: %s\n", end.failed, strerror(end.error)) > 0;
    return ok && fsync(fd) == 0 && renameat(run_dir, "exit.tmp", run_dir, "exit") == 0 &&
           fsync(run_dir) == 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "session")) return run_session(argv + 2);
    if (argc > 1 && !strcmp(argv[1], "relay")) return run_relay(argv + 2);
    take_over_signals();
    char **command = parse(argv + (argc > 0));
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    run_dir = open(options.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (null_fd < 0 || run_dir < 0) err(NOT_CLAIMED, "cannot open /dev/null or %s", options.dir);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    wait_at_gate();
    int output, record = claim_attempt();
    open_segment();
    end.started_ms = end.at_ms = now_ms(CLOCK_REALTIME);
    began_ms = now_ms(CLOCK_MONOTONIC);
    if (!end.failed && options.cwd && chdir(options.cwd) != 0) fail("enter the working directory");
    if (!end.failed && options.env && !add_environment(options.env)) fail("read the environment");
    if (!end.failed && !keep_environment()) fail("keep the environment");
    if (!end.failed && options.gateway) start_gateway(options.gateway);
    if (!end.failed && options.secrets && !take_secrets(run_dir, options.secrets))
        fail("take the secrets");
    if (!end.failed && options.lease_ms && !take_lease(run_dir, options.lease_ms))
        errno = ETIMEDOUT, fail("renew the lease");
    pid_t pid = end.failed ? 0 : start(command, &output);
    if (!end.failed) {
        record_start(pid);
        if (options.sampler) start_sampler(options.sampler, run_dir);
        supervise(pid, output);
        end_descendants();
        long left = fcntl(output, F_GETPIPE_SZ); /* a stranger may hold the other end and go on */
        for (long size; left > 0 && (size = copy_output(output)) > 0;) left -= size;
        write_held(write_log);
        take_late_signals();
    }
    remove_secrets();
    if (!record_end(record) && !record_end(create("exit.tmp"))) warn("cannot record the end");
    return end.signal ? 128 + end.signal : end.code;
}

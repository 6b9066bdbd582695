/* Starts the Python programs beside the command on a node of a cluster: the relay by which the
 * server enters the attempt, when it asks for that, and what measures the GPUs. */
#define _GNU_SOURCE
#include "shim.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SHIM_FD = 8, RUN_FD = 9, FIRST_FREE = 10, MARK = 32 };

static pid_t relay;
static char last_mark[MARK + 1];
static char **plain_environment;

bool keep_environment(void) {
    size_t count = 0;
    while (environ[count]) count++;
    plain_environment = calloc(count + 1, sizeof *plain_environment);
    for (size_t i = 0; plain_environment && i < count; i++) plain_environment[i] = environ[i];
    return plain_environment != NULL;
}

/* Above the numbers that are given out: else one could take the place of another. */
static int lift(int fd) {
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
    if (lifted < 0) _exit(NOT_STARTED);
    return lifted;
}

static void report(int run_dir, const char *why) {
    int fd = openat(run_dir, "entry.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (dprintf(fd, "mark=%s\nerror=python3: %s\n", last_mark, why) > 0)
        renameat(run_dir, "entry.new", run_dir, "entry");
}

/* In a process of its own. It has no terminal, and gets no signal of the command's. */
static void become_python(const char *program, const char *use, int run_dir, int input) {
    char *const argv[] = {"python3", "-IS", (char *)program, (char *)use, NULL};
    int null_fd = lift(open("/dev/null", O_RDWR | O_CLOEXEC));
    int shim = lift(open("/proc/self/exe", O_PATH | O_CLOEXEC)), run = lift(run_dir);
    setsid();
    dup2(input < 0 ? null_fd : lift(input), 0), dup2(null_fd, 1), dup2(null_fd, 2);
    dup2(shim, SHIM_FD), dup2(run, RUN_FD);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    environ = plain_environment;
    execvp(argv[0], argv);
    int why = errno;
    execv("/usr/bin/python3", argv), execv("/usr/local/bin/python3", argv);
    if (input >= 0) report(RUN_FD, strerror(why));
    _exit(NOT_STARTED);
}

/* Answers the pid of a Python that ends with this process, or -1. `input`: its stdin, or -1. */
static pid_t start_python(const char *program, const char *use, int run_dir, int input) {
    pid_t shim = getpid(), pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == shim) become_python(program, use, run_dir, input);
    _exit(NOT_STARTED);
}

void start_sampler(const char *program, int run_dir) {
    start_python(program, "sample", run_dir, -1);
}

void look_at_entry(const char *control, const char *program, int run_dir) {
    char mark[MARK + 1];
    int folder = relay ? -1 : open(control, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int asked = folder < 0 ? -1 : openat(folder, "enter",
                                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool is_new = asked >= 0 && pread(asked, mark, sizeof mark, 0) == sizeof mark &&
        mark[MARK] == '\n' && memcmp(mark, last_mark, MARK) != 0 &&
        strspn(mark, "0123456789abcdef") == MARK;
    if (is_new) {
        memcpy(last_mark, mark, MARK);
        relay = start_python(program, "enter", run_dir, asked);
        if (relay < 0) relay = 0, memset(last_mark, 0, MARK); /* tried again at the next look */
    }
    if (asked >= 0) close(asked);
    if (folder >= 0) close(folder);
}

bool relay_ended(pid_t child) {
    bool was_relay = child == relay;
    if (was_relay) relay = 0;
    return was_relay;
}

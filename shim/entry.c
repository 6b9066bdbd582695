/* Starts the relay by which a server on another machine enters the attempt, when the server asks. */
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

static void place(int fd, int number) {
    int free_one = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
    if (free_one < 0 || dup2(free_one, number) < 0) _exit(NOT_STARTED);
}

static void report(int run_dir, const char *why) {
    int fd = openat(run_dir, "entry.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (dprintf(fd, "mark=%s\nerror=python3: %s\n", last_mark, why) > 0)
        renameat(run_dir, "entry.new", run_dir, "entry");
}

/* In a process of its own. It has no terminal, and gets no signal of the command's. */
static void become_relay(const char *program, int run_dir, int asked) {
    char *const argv[] = {"python3", "-IS", (char *)program, "enter", NULL};
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int shim = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    setsid();
    place(run_dir, RUN_FD), place(shim, SHIM_FD);
    place(asked, 0), place(null_fd, 1), place(null_fd, 2);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    environ = plain_environment;
    execvp(argv[0], argv);
    int why = errno;
    execv("/usr/bin/python3", argv), execv("/usr/local/bin/python3", argv);
    report(RUN_FD, strerror(why));
    _exit(NOT_STARTED);
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
        pid_t shim = getpid();
        memcpy(last_mark, mark, MARK);
        relay = fork();
        if (relay == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == shim) become_relay(program, run_dir, asked);
            _exit(NOT_STARTED);
        }
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

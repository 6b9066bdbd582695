/* A command beside the task's own, in its container or as its user, with its standard streams in
 * frames on the shim's. README.md beside this file has the frames. */
#define _GNU_SOURCE
#include "shim.h"
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 5, MOST = 1 << 16, HANG_UP_MS = 2000, CLOSE_MS = 5000 };

static struct { unsigned char bytes[HEAD + MOST]; size_t used; } received;
static struct { unsigned char bytes[MOST]; size_t at, used; bool ends; } input;
static struct { int in, out, err; pid_t pid; bool tty; } command = {-1, -1, -1, 0, false};

/* False: nobody reads any more. */
static bool send_frame(char type, const void *data, uint32_t size) {
    unsigned char frame[HEAD + MOST] = {(unsigned char)type, size >> 24, size >> 16, size >> 8, size};
    memcpy(frame + HEAD, data, size);
    for (size_t done = 0; done < HEAD + size;) {
        ssize_t written = write(1, frame + done, HEAD + size - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        done += written;
    }
    return true;
}

static void set_size(int terminal, unsigned rows, unsigned columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    ioctl(terminal, TIOCSWINSZ, &size);
}

static void close_input(void) {
    if (!input.ends || input.at < input.used || command.in < 0) return;
    if (command.tty) (void)!write(command.in, "\4", 1); /* the terminal's own end of input */
    else close(command.in), command.in = -1;
    input.ends = false;
}

/* Answers as `send_frame`. */
static bool write_input(void) {
    while (input.at < input.used) {
        ssize_t written = write(command.in, input.bytes + input.at, input.used - input.at);
        if (written < 0 && errno == EAGAIN) return true;
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) { input.at = input.used; break; } /* the command reads no more */
        input.at += written;
    }
    close_input();
    return send_frame('a', "", 0);
}

static bool carry_out(char type, const unsigned char *data, uint32_t size) {
    switch (type) {
    case 'i':
        if (input.at < input.used) return false; /* too early */
        memcpy(input.bytes, data, size);
        input.at = 0, input.used = command.in < 0 ? 0 : size;
        return write_input();
    case 'e': input.ends = true, close_input(); return true;
    case 'w':
        if (size != 4) return false;
        if (command.tty) set_size(command.in, data[0] << 8 | data[1], data[2] << 8 | data[3]);
        return true;
    case 's':
        if (size != 1) return false;
        if (command.pid && kill(-command.pid, data[0]) != 0) kill(command.pid, data[0]);
        return true;
    default: return false;
    }
}

/* Carries out whole frames. */
static bool take_frames(void) {
    size_t at = 0;
    while (received.used - at >= HEAD) {
        unsigned char *head = received.bytes + at;
        uint32_t size = (uint32_t)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];
        if (size > MOST) return false;
        if (received.used - at < HEAD + size) break;
        if (!carry_out((char)head[0], head + HEAD, size)) return false;
        at += HEAD + size;
    }
    memmove(received.bytes, received.bytes + at, received.used -= at);
    return true;
}

/* False at the end of the connection, or after bytes that are no frame. */
static bool receive(void) {
    ssize_t size = read(0, received.bytes + received.used, sizeof received.bytes - received.used);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (size <= 0) return false;
    received.used += size;
    return take_frames();
}

/* 1: more may come; 0: the end; -1: nobody reads any more. */
static int pass_output(int *from, char type) {
    static unsigned char block[MOST / 2];
    ssize_t size = read(*from, block, sizeof block);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (size <= 0) {
        if (*from != command.in) close(*from);
        *from = -1;
        return 0;
    }
    return send_frame(type, block, size) ? 1 : -1;
}

static bool open_streams(int theirs[3]) {
    if (command.tty) {
        int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
        if (terminal < 0 || unlockpt(terminal) != 0) return false;
        theirs[0] = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
        theirs[1] = theirs[2] = theirs[0];
        command.in = command.out = terminal;
        return theirs[0] >= 0;
    }
    int ends[3][2];
    for (int i = 0; i < 3; i++)
        if (pipe2(ends[i], O_CLOEXEC) != 0) return false;
    theirs[0] = ends[0][0], theirs[1] = ends[1][1], theirs[2] = ends[2][1];
    command.in = ends[0][1], command.out = ends[1][0], command.err = ends[2][0];
    fcntl(command.in, F_SETFL, O_NONBLOCK);
    fcntl(command.out, F_SETFL, O_NONBLOCK), fcntl(command.err, F_SETFL, O_NONBLOCK);
    return true;
}

/* Answers 0, or the errno of what failed. */
static int start_command(char **argv, unsigned rows, unsigned columns) {
    int theirs[3] = {-1, -1, -1}, report[2], failed = 0;
    if (!open_streams(theirs) || pipe2(report, O_CLOEXEC) != 0) return errno;
    if (command.tty) set_size(command.in, rows, columns);
    pid_t helper = getpid();
    command.pid = fork();
    if (command.pid < 0) return errno;
    if (command.pid == 0) {
        setsid(); /* its own process group, and a session for its terminal */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != helper) _exit(NOT_STARTED);
        if (command.tty) ioctl(theirs[0], TIOCSCTTY, 0);
        for (int i = 0; i < 3; i++) dup2(theirs[i], i);
        for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(argv[0], argv);
        failed = errno;
        (void)!write(report[1], &failed, sizeof failed);
        _exit(NOT_STARTED);
    }
    for (int i = 0; i < 3; i++)
        if (i == 0 || !command.tty) close(theirs[i]);
    close(report[1]);
    if (read(report[0], &failed, sizeof failed) != sizeof failed) failed = 0;
    close(report[0]);
    return failed;
}

/* True once the command has ended. */
static bool has_ended(int *status) {
    int found;
    for (pid_t pid; (pid = waitpid(-1, &found, WNOHANG)) > 0;)
        if (pid == command.pid) {
            *status = found;
            command.pid = 0;
            return true;
        }
    return false;
}

/* Passes on what is left, once no process of the session can write any more. */
static void drain(void) {
    while (command.out >= 0 && pass_output(&command.out, 'o') > 0) {}
    while (command.err >= 0 && pass_output(&command.err, 'r') > 0) {}
}

/* Nobody is there any more: a hang-up, then the end of everything that the session started. */
static void hang_up(void) {
    int status;
    if (command.pid && kill(-command.pid, SIGHUP) == 0) kill(-command.pid, SIGCONT);
    long until = now_ms(CLOCK_MONOTONIC) + HANG_UP_MS;
    while (command.pid && now_ms(CLOCK_MONOTONIC) < until && !has_ended(&status)) {
        struct pollfd ready = {signal_fd, POLLIN, 0};
        poll(&ready, 1, 50);
        next_signal();
    }
    end_descendants();
}

/* True if the command has ended by itself. */
static bool converse(int *status) {
    for (;;) {
        if (has_ended(status)) return true;
        bool waits = input.at < input.used;
        struct pollfd ready[] = {
            {signal_fd, POLLIN, 0},
            {0, POLLIN, 0},
            {waits ? command.in : -1, POLLOUT, 0},
            {command.out, POLLIN, 0},
            {command.err, POLLIN, 0},
        };
        if (poll(ready, 5, -1) < 0 && errno != EINTR) return false;
        if (ready[0].revents && next_signal()) return false;
        if (ready[2].revents && !write_input()) return false;
        if (ready[1].revents && !receive()) return false;
        if (ready[3].revents && pass_output(&command.out, 'o') < 0) return false;
        if (ready[4].revents && pass_output(&command.err, 'r') < 0) return false;
    }
}

static void send_end(int code, const char *why) {
    char text[200];
    int size = snprintf(text, sizeof text, "%c%s", code, why);
    send_frame('x', text, size);
}

/* Reads on until the server closes its end. Input that is unread when this process ends would reset
 * the connection, and the server would lose the output and the exit that it has not read yet. */
static void await_close(void) {
    static char ignored[4096];
    long until = now_ms(CLOCK_MONOTONIC) + CLOSE_MS;
    for (long left; (left = until - now_ms(CLOCK_MONOTONIC)) > 0;) {
        struct pollfd ready = {0, POLLIN, 0};
        if (poll(&ready, 1, (int)left) > 0 && read(0, ignored, sizeof ignored) <= 0) return;
    }
}

int run_session(char **arg) {
    unsigned rows = 0, columns = 0;
    const char *cwd = NULL;
    for (; arg[0] && arg[1] && strcmp(arg[0], "--") != 0; arg += 2) {
        if (!strcmp(arg[0], "--tty") && sscanf(arg[1], "%ux%u", &rows, &columns) == 2)
            command.tty = true;
        else if (!strcmp(arg[0], "--cwd")) cwd = arg[1];
        else errx(BAD_USAGE, "unknown option: %s %s", arg[0], arg[1]);
    }
    if (!arg[0] || !arg[1]) errx(BAD_USAGE, "-- COMMAND is needed");
    take_over_signals();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (!send_frame('h', "1", 1)) return 0;
    int failed = cwd && chdir(cwd) != 0 ? errno : start_command(arg + 1, rows, columns);
    if (failed) {
        send_end(failed == ENOENT ? NOT_FOUND : NOT_STARTED, strerror(failed));
        await_close();
        return 0;
    }
    int status;
    if (!converse(&status)) {
        hang_up();
        return 0;
    }
    end_descendants();
    drain();
    send_end(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), "");
    await_close();
    return 0;
}

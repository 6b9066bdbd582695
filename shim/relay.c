/* Joins connections to a UNIX socket in the attempt's folder with a TCP port of the task: the only
 * way into a container that no other one, and no host, reaches. And the way out of it: joins
 * connections to a port of the container's loopback with the socket of the server. */
#define _GNU_SOURCE
#include "shim.h"
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 256, BLOCK = 1 << 15, SERVER_TRIES = 150, PAUSE_US = 200000 };

/* One direction of a connection. */
struct flow { int from, to; unsigned char bytes[BLOCK]; size_t at, used; bool ended; };

static uint16_t port;
static struct sockaddr_un server = {.sun_family = AF_UNIX};

static int connect_to(int family) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = fd < 0 ? -1 : family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof v4)
                                                 : connect(fd, (struct sockaddr *)&v6, sizeof v6);
    if (failed == 0) return fd;
    int why = errno;
    if (fd >= 0) close(fd);
    errno = why;
    return -1;
}

/* False: the connection is broken. */
static bool move(struct flow *flow) {
    if (flow->at == flow->used && !flow->ended) {
        ssize_t size = read(flow->from, flow->bytes, BLOCK);
        if (size < 0) return errno == EAGAIN || errno == EINTR;
        flow->at = 0, flow->used = size, flow->ended = size == 0;
        if (flow->ended) shutdown(flow->to, SHUT_WR);
    }
    while (flow->at < flow->used) {
        ssize_t size = write(flow->to, flow->bytes + flow->at, flow->used - flow->at);
        if (size < 0) return errno == EAGAIN || errno == EINTR;
        flow->at += size;
    }
    return true;
}

static void join(int client, int task) {
    static struct flow there, back;
    fcntl(client, F_SETFL, O_NONBLOCK), fcntl(task, F_SETFL, O_NONBLOCK);
    there.from = back.to = client, there.to = back.from = task;
    while (!there.ended || !back.ended) {
        bool out = there.at < there.used, in = back.at < back.used;
        struct pollfd ready[] = {
            {client, (there.ended || out ? 0 : POLLIN) | (in ? POLLOUT : 0), 0},
            {task, (back.ended || in ? 0 : POLLIN) | (out ? POLLOUT : 0), 0},
        };
        /* A hang-up would wake at once, again and again. */
        if (!ready[0].events && back.ended) ready[0].fd = -1;
        if (!ready[1].events) ready[1].fd = -1;
        if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
        if (ready[0].revents & POLLHUP && !back.ended) return; /* nobody reads the answer any more */
        if (!move(&there) || !move(&back)) return;
    }
}

/* The next two run in a process of their own. */
static void serve_client(int client) {
    int task = connect_to(AF_INET);
    if (task < 0 && errno == ECONNREFUSED) {
        task = connect_to(AF_INET6);
        if (task < 0) errno = ECONNREFUSED; /* also where there is no IPv6 */
    }
    unsigned char state = task < 0 ? errno : 0;
    if (write(client, &state, 1) == 1 && task >= 0) join(client, task);
}

/* Waits while the server restarts: then its socket refuses, or is missing. */
static void serve_command(int client) {
    for (int tries = 0; tries < SERVER_TRIES; tries++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return;
        if (connect(fd, (struct sockaddr *)&server, sizeof server) == 0) {
            join(client, fd);
            return;
        }
        close(fd);
        usleep(PAUSE_US);
    }
}

/* True if a process serves the connection. Also when the relay itself was killed, none of its
 * processes is left. */
static bool accept_one(int listener, void (*serve)(int), pid_t relay) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pid_t pid = client < 0 ? -1 : fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == relay) serve(client);
        _exit(0);
    }
    if (client >= 0) close(client);
    return pid > 0;
}

int run_relay(char **arg) {
    if (!arg[0] || !arg[1] || !arg[2]) errx(BAD_USAGE, "relay FOLDER NAME PORT");
    long number = strtol(arg[2], NULL, 10);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (number < 1 || number > UINT16_MAX || strlen(arg[1]) >= sizeof address.sun_path)
        errx(BAD_USAGE, "no such port, or the name is too long");
    port = number;
    strcpy(address.sun_path, arg[1]); /* a name alone: the folder's path may be too long */
    take_over_signals();
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    umask(0); /* the folder decides who may connect */
    if (chdir(arg[0]) != 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 128) != 0)
        err(NOT_STARTED, "cannot listen");
    (void)!write(1, "h\0\0\0\1" "1", 6);
    for (int connections = 0;;) {
        struct pollfd ready[] = {
            {0, POLLIN, 0}, {signal_fd, POLLIN, 0},
            {connections < MOST_CONNECTIONS ? listener : -1, POLLIN, 0}};
        char ignored[64];
        poll(ready, 3, -1);
        if (ready[0].revents && read(0, ignored, sizeof ignored) <= 0) break;
        if (ready[1].revents && next_signal()) break;
        while (connections > 0 && waitpid(-1, NULL, WNOHANG) > 0) connections--;
        if (ready[2].revents) connections += accept_one(listener, serve_client, getpid());
    }
    unlink(arg[1]);
    end_descendants();
    return 0;
}

/* In a child of the shim, which ends it with the command's other descendants. */
static void serve_commands(int listener) {
    for (int connections = 0;;) {
        struct pollfd ready[] = {
            {signal_fd, POLLIN, 0}, {connections < MOST_CONNECTIONS ? listener : -1, POLLIN, 0}};
        poll(ready, 2, -1);
        if (ready[0].revents) next_signal(); /* SIGCHLD; the others are for the command */
        while (connections > 0 && waitpid(-1, NULL, WNOHANG) > 0) connections--;
        if (ready[1].revents) connections += accept_one(listener, serve_command, getpid());
    }
}

void start_gateway(const char *value) {
    char *path;
    long number = strtol(value, &path, 10);
    if (number < 1 || number > UINT16_MAX || *path++ != ':' || strlen(path) >= sizeof server.sun_path)
        errx(BAD_USAGE, "no PORT:PATH, or the path is too long: %s", value);
    strcpy(server.sun_path, path);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(number),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0) {
        warn("cannot listen on port %ld", number); /* the command can run without it */
    } else {
        pid_t shim = getpid(), pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == shim) serve_commands(listener);
            _exit(0);
        }
    }
    if (listener >= 0) close(listener);
}

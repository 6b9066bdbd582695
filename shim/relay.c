/* Joins connections to a UNIX socket in the attempt's folder with a TCP port of the task: the only
 * way into a container that no other one, and no host, reaches. */
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

enum { MOST_CONNECTIONS = 256, BLOCK = 1 << 15 };

/* One direction of a connection. */
struct flow { int from, to; unsigned char bytes[BLOCK]; size_t at, used; bool ended; };

static int connect_to(int family, uint16_t port) {
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

/* In a process of its own. */
static void serve(int client, uint16_t port) {
    static struct flow there, back;
    int task = connect_to(AF_INET, port);
    if (task < 0 && errno == ECONNREFUSED) {
        task = connect_to(AF_INET6, port);
        if (task < 0) errno = ECONNREFUSED; /* also where there is no IPv6 */
    }
    unsigned char state = task < 0 ? errno : 0;
    if (write(client, &state, 1) != 1 || task < 0) return;
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

/* True if a process serves the connection. Also when the relay itself was killed, none of its
 * processes is left. */
static bool accept_one(int listener, uint16_t port, pid_t relay) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pid_t pid = client < 0 ? -1 : fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == relay) serve(client, port);
        _exit(0);
    }
    if (client >= 0) close(client);
    return pid > 0;
}

int run_relay(char **arg) {
    if (!arg[0] || !arg[1] || !arg[2]) errx(BAD_USAGE, "relay FOLDER NAME PORT");
    long port = strtol(arg[2], NULL, 10);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (port < 1 || port > UINT16_MAX || strlen(arg[1]) >= sizeof address.sun_path)
        errx(BAD_USAGE, "no such port, or the name is too long");
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
        if (ready[2].revents) connections += accept_one(listener, port, getpid());
    }
    unlink(arg[1]);
    end_descendants();
    return 0;
}

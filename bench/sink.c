/* The bench's FTP server: one thread, one epoll, files that exist only as lengths.
 *
 * It is as fast as a server can be made simply, so that a client is measured and not its server: data goes out of and
 * into one static buffer, passive listeners are opened once and lent to one control connection after another, and the
 * data connection is accepted when the transfer command arrives, without an epoll registration of its own.
 *
 * The size of a file is the number in its name (`RETR f1024` sends 1,024 bytes), 1,024 where it has none.
 * Prints one JSON line {"port": N} when it listens, and its counts as another on SIGTERM. Dies with its parent.
 *
 *   sink [-6] [-p port] [-b backlog] [-r first-last]     (-r: passive ports, opened in order; else the kernel chooses)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 512, EVENTS = 256, CHUNK = 1 << 20, SMALL_FILE = 1024, ANSWER_MAX = 128 };

static const char LISTING[] = "-rw-r--r-- 1 ftp ftp 1024 Jan  1 00:00 f1024\r\n"
                              "-rw-r--r-- 1 ftp ftp 1048576 Jan  1 00:00 f1048576\r\n"
                              "-rw-r--r-- 1 ftp ftp 104857600 Jan  1 00:00 f104857600\r\n";

enum kind { ACCEPTING, CONTROL, PASSIVE, DATA };
enum transfer { NONE, SEND, LIST, RECEIVE };

struct session;

/* What epoll hands back: one descriptor and whose it is. */
struct watch {
    enum kind kind;
    int fd;
    struct session *session;
};

/* A passive listener. It outlives the session that it is lent to. */
struct passive {
    struct watch watch;
    int port;
    bool registered;
    struct passive *next_idle;
};

struct session {
    struct watch control, data;
    struct passive *passive;
    enum transfer transfer;
    uint64_t left; /* bytes still to send */
    size_t used;   /* bytes of `line` */
    bool dead;     /* control is closed; freed after the batch of events */
    struct session *next_dead;
    char line[LINE_MAX_BYTES];
};

static char chunk[CHUNK];
static int epoll_fd, family = AF_INET, backlog = 65535, passive_next, passive_last;
static struct passive *idle;
static struct session *dead;
static volatile sig_atomic_t stopping;
static struct { unsigned long long sessions, transfers, sent, received, listeners; } counts;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct watch *w, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = w};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, w->fd, &event)) fail("epoll_ctl");
}

static int listen_on(int port) {
    int one = 1, fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* Accepted sockets inherit it: without it Nagle's algorithm holds a 226 back until its 150 is acknowledged. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int bound = family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof v4) : bind(fd, (struct sockaddr *)&v6, sizeof v6);
    if (bound || listen(fd, backlog)) {
        int number = errno;
        close(fd);
        errno = number;
        return -1;
    }
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_in6 address; /* the port stands at the same place in both families */
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size)) fail("getsockname");
    return ntohs(address.sin6_port);
}

/* Return an idle listener or a new one, NULL where there is no port left. */
static struct passive *borrow_passive(void) {
    struct passive *p = idle;
    if (p) {
        idle = p->next_idle;
        return p;
    }
    if (!(p = calloc(1, sizeof *p))) fail("calloc");
    do
        p->watch.fd = listen_on(passive_last ? passive_next++ : 0);
    while (p->watch.fd < 0 && errno == EADDRINUSE && passive_next && passive_next <= passive_last);
    if (p->watch.fd < 0) {
        free(p);
        return NULL;
    }
    p->watch.kind = PASSIVE;
    p->port = port_of(p->watch.fd);
    counts.listeners++;
    return p;
}

static void return_passive(struct passive *p) {
    int stray;
    if (p->registered && epoll_ctl(epoll_fd, EPOLL_CTL_DEL, p->watch.fd, NULL)) fail("epoll_ctl");
    p->registered = false;
    while ((stray = accept4(p->watch.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) close(stray);
    p->watch.session = NULL;
    p->next_idle = idle;
    idle = p;
}

static void close_data(struct session *s) {
    if (s->data.fd >= 0) close(s->data.fd);
    s->data.fd = -1;
    s->transfer = NONE;
}

static void end(struct session *s) {
    if (s->dead) return;
    s->dead = true;
    close_data(s);
    close(s->control.fd);
    if (s->passive) return_passive(s->passive);
    s->next_dead = dead;
    dead = s;
}

static void answer(struct session *s, const char *text) {
    size_t size = strlen(text);
    if (send(s->control.fd, text, size, MSG_NOSIGNAL) != (ssize_t)size) end(s);
}

static void finish(struct session *s) {
    counts.transfers++;
    close_data(s);
    answer(s, "226 Transfer complete.\r\n");
}

/* Send what is left; true when the data connection takes no more for now. */
static bool pump(struct session *s) {
    while (s->left) {
        size_t want = s->left < CHUNK ? s->left : CHUNK;
        ssize_t sent = send(s->data.fd, s->transfer == LIST ? LISTING : chunk, want, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) return true;
            close_data(s);
            answer(s, "426 Connection closed; transfer aborted.\r\n");
            return false;
        }
        s->left -= (uint64_t)sent;
        counts.sent += (unsigned long long)sent;
    }
    finish(s);
    return false;
}

static void drain(struct session *s) {
    for (int turn = 0; turn < 8; turn++) {
        ssize_t size = recv(s->data.fd, chunk, CHUNK, 0);
        if (size < 0 && errno == EAGAIN) return;
        if (size <= 0) {
            finish(s);
            return;
        }
        counts.received += (unsigned long long)size;
        if (size < CHUNK / 2) return; /* level-triggered: the rest, or the end, is told again */
    }
}

/* Accept the data connection if it is there and begin to move; otherwise have epoll tell when it comes. */
static void begin(struct session *s) {
    struct passive *p = s->passive;
    int fd = accept4(p->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (!p->registered) {
            p->registered = true;
            watch(&p->watch, EPOLLIN);
        }
        return;
    }
    if (p->registered) {
        p->registered = false;
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, p->watch.fd, NULL);
    }
    s->data.fd = fd;
    answer(s, "150 Here it comes.\r\n");
    if (s->dead) return;
    if (s->transfer == RECEIVE)
        watch(&s->data, EPOLLIN);
    else if (pump(s))
        watch(&s->data, EPOLLOUT);
}

static uint64_t size_in(const char *name) {
    while (*name && (*name < '0' || *name > '9')) name++;
    return *name ? strtoull(name, NULL, 10) : SMALL_FILE;
}

static void passive(struct session *s, bool extended) {
    char text[ANSWER_MAX];
    if (!s->passive && !(s->passive = borrow_passive())) {
        answer(s, "425 No passive port.\r\n");
        return;
    }
    s->passive->watch.session = s;
    int port = s->passive->port;
    if (extended)
        snprintf(text, sizeof text, "229 Entering Extended Passive Mode (|||%d|)\r\n", port);
    else
        snprintf(text, sizeof text, "227 Entering Passive Mode (127,0,0,1,%d,%d)\r\n", port >> 8, port & 255);
    answer(s, text);
}

static void transfer(struct session *s, enum transfer kind, uint64_t size) {
    if (!s->passive || s->transfer != NONE) {
        answer(s, "425 Use EPSV or PASV first.\r\n");
        return;
    }
    s->transfer = kind;
    s->left = size;
    begin(s);
}

static const struct { const char *verb, *reply; } SIMPLE[] = {
    {"USER", "331 Password, please.\r\n"}, {"PASS", "230 Logged in.\r\n"},     {"TYPE", "200 Type set.\r\n"},
    {"NOOP", "200 Nothing done.\r\n"},     {"PWD", "257 \"/\"\r\n"},           {"CWD", "250 Changed.\r\n"},
    {"SYST", "215 UNIX Type: L8\r\n"},     {"FEAT", "211 No features.\r\n"},   {"DELE", "250 Deleted.\r\n"},
    {"OPTS", "200 Noted.\r\n"},            {"MODE", "200 Mode set.\r\n"},      {"STRU", "200 Structure set.\r\n"},
};

static void obey(struct session *s, char *line) {
    char *argument = strchr(line, ' ');
    if (argument)
        *argument++ = 0;
    else
        argument = line + strlen(line);
    if (!strcasecmp(line, "EPSV") || !strcasecmp(line, "PASV")) {
        passive(s, line[0] == 'E' || line[0] == 'e');
    } else if (!strcasecmp(line, "RETR")) {
        transfer(s, SEND, size_in(argument));
    } else if (!strcasecmp(line, "LIST") || !strcasecmp(line, "NLST")) {
        transfer(s, LIST, sizeof LISTING - 1);
    } else if (!strcasecmp(line, "STOR")) {
        transfer(s, RECEIVE, 0);
    } else if (!strcasecmp(line, "SIZE")) {
        char text[ANSWER_MAX];
        snprintf(text, sizeof text, "213 %llu\r\n", (unsigned long long)size_in(argument));
        answer(s, text);
    } else if (!strcasecmp(line, "QUIT")) {
        answer(s, "221 Goodbye.\r\n");
        end(s);
    } else {
        for (size_t i = 0; i < sizeof SIMPLE / sizeof *SIMPLE; i++)
            if (!strcasecmp(line, SIMPLE[i].verb)) {
                answer(s, SIMPLE[i].reply);
                return;
            }
        answer(s, "502 Not implemented.\r\n");
    }
}

static void read_control(struct session *s) {
    ssize_t size = recv(s->control.fd, s->line + s->used, LINE_MAX_BYTES - 1 - s->used, 0);
    if (size <= 0) {
        if (size == 0 || errno != EAGAIN) end(s);
        return;
    }
    s->used += (size_t)size;
    s->line[s->used] = 0;
    char *line = s->line, *newline;
    while (!s->dead && (newline = strchr(line, '\n'))) {
        *newline = 0;
        if (newline > line && newline[-1] == '\r') newline[-1] = 0;
        obey(s, line);
        line = newline + 1;
    }
    s->used -= (size_t)(line - s->line);
    memmove(s->line, line, s->used);
    if (s->used == LINE_MAX_BYTES - 1) end(s);
}

static void accept_control(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct session *s = malloc(sizeof *s);
        if (!s) fail("malloc");
        memset(s, 0, offsetof(struct session, line));
        s->control = (struct watch){CONTROL, fd, s};
        s->data = (struct watch){DATA, -1, s};
        counts.sessions++;
        watch(&s->control, EPOLLIN);
        answer(s, "220 Ready.\r\n");
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) fail("accept4");
}

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

static void serve(int listener) {
    struct epoll_event events[EVENTS];
    while (!stopping) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct watch *w = events[i].data.ptr;
            struct session *s = w->session;
            if (w->kind == ACCEPTING)
                accept_control(listener);
            else if (!s || s->dead)
                continue; /* an event of this batch that an earlier one made stale */
            else if (w->kind == CONTROL)
                read_control(s);
            else if (w->kind == PASSIVE && s->transfer != NONE && s->data.fd < 0)
                begin(s);
            else if (w->kind == DATA && s->data.fd >= 0 && s->transfer == RECEIVE)
                drain(s);
            else if (w->kind == DATA && s->data.fd >= 0)
                pump(s);
        }
        while (dead) {
            struct session *s = dead;
            dead = s->next_dead;
            free(s);
        }
    }
}

int main(int argc, char **argv) {
    int option, port = 0;
    while ((option = getopt(argc, argv, "6p:b:r:")) != -1) {
        if (option == '6')
            family = AF_INET6;
        else if (option == 'p')
            port = atoi(optarg);
        else if (option == 'b')
            backlog = atoi(optarg);
        else if (option != 'r' || sscanf(optarg, "%d-%d", &passive_next, &passive_last) != 2) {
            fprintf(stderr, "usage: sink [-6] [-p port] [-b backlog] [-r first-last]\n");
            return 2;
        }
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sigaction stop = {.sa_handler = on_signal};
    sigaction(SIGTERM, &stop, NULL);

    struct watch control = {ACCEPTING, listen_on(port), NULL};
    if (control.fd < 0) fail("listen");
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");
    watch(&control, EPOLLIN);
    printf("{\"port\": %d}\n", port_of(control.fd));
    fflush(stdout);
    serve(control.fd);

    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"sessions\": %llu, \"transfers\": %llu, \"sent\": %llu, \"received\": %llu, \"listeners\": %llu, "
           "\"cpu_s\": %.6f}\n",
           counts.sessions, counts.transfers, counts.sent, counts.received, counts.listeners, cpu_s);
    return 0;
}

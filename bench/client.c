/* The C yardstick: what a load generator costs when it is nothing but its system calls.
 *
 * One thread, one edge-triggered epoll. On the wire it does what ftpstorm's engine does, command by command: USER, PASS,
 * TYPE I; for each transfer EPSV, connect, RETR (STOR, LIST), read to the end of data, close, final reply; QUIT, wait
 * for the server's close. It takes a stamp for every event, as a client that measures must, and records none of them.
 * A failure of any kind ends it with exit status 1: a yardstick that has failures measures nothing.
 *
 *   client -w WORKLOAD -c SESSIONS -n OPERATIONS [-s BYTES] [-r RATE] [-6] [-q] PORT
 *
 *   retr   SESSIONS sessions do OPERATIONS RETRs between them, each on one control connection (W1, W4)
 *   stor   the same with STOR (W4)
 *   full   OPERATIONS whole sessions of one RETR, SESSIONS at a time (W2)
 *   burst  OPERATIONS sessions at one instant: login, LIST, quit (W3)
 *   hold   OPERATIONS sessions logged in and held together, SESSIONS connecting at a time; then QUIT (W5)
 *   greet  OPERATIONS sessions at RATE a second: connect, greeting, close (arrivals)
 *
 * -q sends TCP_QUICKACK before each wait for a final reply, as the engine does. The result is one JSON line; CPU is
 * getrusage's around the work.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 64, CHUNK = 262144, READ_BYTES = 4096, HELD_LINE = 256 };
static const int64_t SECOND = 1000000000;

enum workload { RETR, STOR, FULL, BURST, HOLD, GREET };
static const char *const WORKLOADS[] = {"retr", "stor", "full", "burst", "hold", "greet"};

enum state { CONNECTING, GREETING, USER, PASS, TYPE, PASSIVE, DATA_CONNECTING, MOVING, HELD, QUITTING, LEAVING };

struct session;
struct link {
    struct session *session;
    int fd;
    bool is_data, connected;
};

struct session {
    struct link control, data;
    enum state state;
    bool data_ended, final;
    unsigned left;     /* transfers still to do on this control connection */
    int64_t to_send;   /* bytes of an upload; -1 before its 150 */
    int64_t bytes;
    size_t used;
    int64_t start, connected, greeting, login, passive, data_connected, first_byte, data_end, end;
    struct session *next;
    char line[HELD_LINE];
};

static char chunk[CHUNK];
static int epoll_fd, timer_fd, family = AF_INET, port;
static struct sockaddr_storage server;
static socklen_t server_size;
static enum workload workload;
static unsigned slots = 1, operations = 1, started, finished, held, connecting, transfers;
static int64_t size = 1024, moved, interval, begin_ns, now, *lateness;
static bool quickack;
static char retr_command[64], stor_command[64];
static struct session *dead;
static int *closing;
static unsigned closing_used, closing_room;
static long held_rss;

static void fail(const char *what) {
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static long rss_bytes(void) {
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm || fscanf(statm, "%*d %ld", &pages) != 1) fail("statm");
    fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Close after the batch: a descriptor number reused inside it would get its predecessor's event. */
static void close_later(struct link *l) {
    if (l->fd < 0) return;
    if (closing_used == closing_room) {
        closing_room = closing_room ? 2 * closing_room : 256;
        if (!(closing = realloc(closing, closing_room * sizeof *closing))) fail("realloc");
    }
    closing[closing_used++] = l->fd;
    l->fd = -1;
}

static void open_link(struct link *l, int to_port) {
    l->connected = false;
    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) fail("socket");
    ((struct sockaddr_in6 *)&server)->sin6_port = htons(to_port); /* the same place in both families */
    if (connect(l->fd, (struct sockaddr *)&server, server_size) && errno != EINPROGRESS) fail("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = l};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, l->fd, &event)) fail("epoll_ctl");
}

static void start_session(void) {
    struct session *s = calloc(1, sizeof *s);
    if (!s) fail("calloc");
    s->control = (struct link){s, -1, false, false};
    s->data = (struct link){s, -1, true, false};
    s->left = workload == RETR || workload == STOR ? operations / slots + (started < operations % slots) : 1;
    started++;
    connecting++;
    s->start = now;
    open_link(&s->control, port);
}

static void end_session(struct session *s) {
    s->end = now;
    finished++;
    close_later(&s->control);
    s->next = dead;
    dead = s;
    if (workload == FULL && started < operations) start_session();
}

static void say(struct session *s, const char *command, enum state next) {
    size_t length = strlen(command);
    s->state = next;
    if (send(s->control.fd, command, length, MSG_NOSIGNAL) != (ssize_t)length) fail(command);
}

static void next_operation(struct session *s) {
    if (workload == HOLD) {
        s->state = HELD;
        held++;
        connecting--;
        if (started < operations) start_session();
    } else if (s->left--) {
        say(s, "EPSV\r\n", PASSIVE);
    } else {
        say(s, "QUIT\r\n", QUITTING);
    }
}

static void transfer_done(struct session *s) {
    if (workload != BURST && s->bytes != size) fail("short transfer");
    moved += s->bytes;
    transfers++;
    next_operation(s);
}

static void end_of_data(struct session *s) {
    s->data_end = now;
    s->data_ended = true;
    close_later(&s->data);
    if (s->final) {
        transfer_done(s);
    } else if (quickack) {
        int one = 1;
        setsockopt(s->control.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
    }
}

static void pump(struct session *s) {
    while (s->to_send > 0) {
        ssize_t sent = send(s->data.fd, chunk, s->to_send < CHUNK ? (size_t)s->to_send : CHUNK, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) fail("send");
        if (!s->bytes) s->first_byte = now;
        s->bytes += sent;
        s->to_send -= sent;
        now = clock_ns();
    }
    end_of_data(s);
}

static void receive(struct session *s, uint32_t events) {
    for (;;) {
        ssize_t got = recv(s->data.fd, chunk, CHUNK, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) fail("recv");
        if (got && !s->bytes) s->first_byte = now;
        s->bytes += got;
        if (!got || (got < CHUNK && events & EPOLLRDHUP)) {
            end_of_data(s);
            return;
        }
        if (got < CHUNK) return;
        now = clock_ns();
    }
}

static void open_data(struct session *s, const char *reply) {
    const char *at = strstr(reply, "(|||");
    if (!at) fail("229 without a port");
    s->passive = now;
    s->bytes = 0;
    s->to_send = -1;
    s->data_ended = s->final = false;
    s->state = DATA_CONNECTING;
    open_link(&s->data, atoi(at + 4));
}

static void on_reply(struct session *s, const char *reply) {
    int code = atoi(reply);
    if (code >= 400 && code < 600) fail(reply);
    switch (s->state) {
    case GREETING:
        s->greeting = now;
        if (workload == GREET)
            end_session(s);
        else
            say(s, "USER anonymous\r\n", USER);
        break;
    case USER:
        say(s, "PASS ftpstorm@\r\n", PASS);
        break;
    case PASS:
        s->login = now;
        say(s, "TYPE I\r\n", TYPE);
        break;
    case TYPE:
        next_operation(s);
        break;
    case PASSIVE:
        open_data(s, reply);
        break;
    case MOVING:
        if (code == 150 && workload == STOR) {
            s->to_send = size;
            pump(s);
        } else if (code >= 200) {
            s->final = true;
            if (s->data_ended) transfer_done(s);
        }
        break;
    case QUITTING:
        s->state = LEAVING;
        break;
    default:
        fail(reply);
    }
}

static void read_control(struct session *s) {
    char buffer[READ_BYTES + HELD_LINE];
    for (;;) {
        memcpy(buffer, s->line, s->used);
        ssize_t got = recv(s->control.fd, buffer + s->used, READ_BYTES, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) fail("recv");
        if (!got) {
            if (s->state != LEAVING) fail("the server closed a control connection");
            end_session(s);
            return;
        }
        size_t total = s->used + (size_t)got;
        buffer[total] = 0;
        char *line = buffer, *newline;
        while (s->control.fd >= 0 && (newline = strchr(line, '\n'))) {
            *newline = 0;
            on_reply(s, line);
            line = newline + 1;
        }
        s->used = total - (size_t)(line - buffer);
        if (s->used >= HELD_LINE) fail("a reply that is too long");
        memcpy(s->line, line, s->used);
        if (s->control.fd < 0 || got < READ_BYTES) return;
    }
}

static void on_control(struct session *s, uint32_t events) {
    if (s->control.fd < 0) return;
    if (!s->control.connected) {
        if (events & (EPOLLERR | EPOLLHUP)) fail("control connect");
        if (!(events & EPOLLOUT)) return;
        s->control.connected = true;
        s->connected = now;
        s->state = GREETING;
    }
    if (events & EPOLLIN) read_control(s);
    /* The server's 221 and its FIN may come as one event; a short read then leaves only the end. */
    if (s->control.fd >= 0 && s->state == LEAVING && events & EPOLLRDHUP) end_session(s);
}

static void on_data(struct session *s, uint32_t events) {
    if (s->data.fd < 0) return;
    if (!s->data.connected) {
        if (events & (EPOLLERR | EPOLLHUP)) fail("data connect");
        if (!(events & EPOLLOUT)) return;
        s->data.connected = true;
        s->data_connected = now;
        say(s, workload == STOR ? stor_command : workload == BURST ? "LIST\r\n" : retr_command, MOVING);
    }
    if (workload == STOR) {
        if (s->to_send > 0 && events & EPOLLOUT) pump(s);
    } else if (events & (EPOLLIN | EPOLLRDHUP)) {
        receive(s, events);
    }
}

static void after_batch(void) {
    while (closing_used) close(closing[--closing_used]);
    while (dead) {
        struct session *s = dead;
        dead = s->next;
        free(s);
    }
}

static void arm(int64_t instant) {
    struct itimerspec due = {.it_value = {instant / SECOND, instant % SECOND}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &due, NULL)) fail("timerfd_settime");
}

static void start_due(void) {
    while (started < operations && now >= begin_ns + (int64_t)started * interval) {
        lateness[started] = now - (begin_ns + (int64_t)started * interval);
        start_session();
        now = clock_ns();
    }
}

static void begin(void) {
    now = begin_ns = clock_ns();
    if (workload == GREET) {
        begin_ns += SECOND / 10;
        arm(begin_ns);
        return;
    }
    unsigned at_once = workload == BURST || slots > operations ? operations : slots;
    while (started < at_once) start_session();
}

/* Everybody is in: note what holding them costs, and let them go. */
static void release(struct session *const *sessions) {
    held_rss = rss_bytes();
    for (unsigned i = 0; i < held; i++) say(sessions[i], "QUIT\r\n", QUITTING);
}

static void work(void) {
    struct epoll_event events[EVENTS];
    struct session **everybody = NULL;
    if (workload == HOLD && !(everybody = calloc(operations, sizeof *everybody))) fail("calloc");
    begin();
    while (finished < operations && !((workload == RETR || workload == STOR) && finished == slots)) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        if (n < 0) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct link *l = events[i].data.ptr;
            now = clock_ns();
            if (workload == GREET) start_due();
            if (!l) continue;
            unsigned before = held;
            if (l->is_data)
                on_data(l->session, events[i].events);
            else
                on_control(l->session, events[i].events);
            if (everybody && held > before) everybody[before] = l->session;
        }
        after_batch();
        if (workload == GREET && started < operations) arm(begin_ns + (int64_t)started * interval);
        if (everybody && held == operations && !held_rss) release(everybody);
    }
    free(everybody);
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static void parse(int argc, char **argv) {
    int option;
    double rate = 1000;
    unsigned known = sizeof WORKLOADS / sizeof *WORKLOADS, which = known;
    while ((option = getopt(argc, argv, "w:c:n:s:r:6q")) != -1) {
        if (option == 'w')
            for (which = 0; which < known && strcmp(optarg, WORKLOADS[which]); which++) continue;
        else if (option == 'c')
            slots = (unsigned)atoi(optarg);
        else if (option == 'n')
            operations = (unsigned)atoi(optarg);
        else if (option == 's')
            size = atoll(optarg);
        else if (option == 'r')
            rate = atof(optarg);
        else if (option == '6')
            family = AF_INET6;
        else if (option == 'q')
            quickack = true;
        else
            which = known;
    }
    if (which == known || optind != argc - 1 || !slots || !operations || rate <= 0) {
        fprintf(stderr, "usage: client -w WORKLOAD -c SESSIONS -n OPERATIONS [-s BYTES] [-r RATE] [-6] [-q] PORT\n");
        exit(2);
    }
    workload = (enum workload)which;
    port = atoi(argv[optind]);
    interval = (int64_t)((double)SECOND / rate);
    if (slots > operations) slots = operations;
    snprintf(retr_command, sizeof retr_command, "RETR f%lld\r\n", (long long)size);
    snprintf(stor_command, sizeof stor_command, "STOR f%lld\r\n", (long long)size);
}

int main(int argc, char **argv) {
    parse(argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&server;
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        server_size = sizeof *v4;
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&server;
        v6->sin6_family = AF_INET6;
        v6->sin6_addr = in6addr_loopback;
        server_size = sizeof *v6;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event timer = {.events = EPOLLIN | EPOLLET};
    if (epoll_fd < 0 || timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &timer)) fail("epoll");
    if (!(lateness = calloc(operations, sizeof *lateness))) fail("calloc");

    struct rusage before, after;
    long rss_before = rss_bytes();
    getrusage(RUSAGE_SELF, &before);
    int64_t wall = clock_ns();
    work();
    wall = clock_ns() - wall;
    getrusage(RUSAGE_SELF, &after);
    double user = seconds(after.ru_utime) - seconds(before.ru_utime);
    double system = seconds(after.ru_stime) - seconds(before.ru_stime);
    printf("{\"ops\": %u, \"sessions\": %u, \"transfers\": %u, \"bytes\": %lld, \"wall_s\": %.6f, \"cpu_s\": %.6f, "
           "\"user_s\": %.6f, \"sys_s\": %.6f",
           operations, finished, transfers, (long long)moved, (double)wall / 1e9, user + system, user, system);
    if (workload == HOLD)
        printf(", \"bytes_per_session\": %.1f", (double)(held_rss - rss_before) / operations);
    if (workload == GREET) {
        qsort(lateness, operations, sizeof *lateness, ascending);
        printf(", \"lateness_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}", (double)lateness[operations / 2] / 1e3,
               (double)lateness[(uint64_t)operations * 99 / 100] / 1e3, (double)lateness[operations - 1] / 1e3);
    }
    printf("}\n");
    return 0;
}

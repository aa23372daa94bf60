/* load: one load generator for WebSocket and HTTP servers. One thread, epoll, closed loop.
 *
 *     load MODE key=value ...        MODE is echo, fanout, busy, idle, audience, handshake or http
 *
 * Closed loop means that a connection sends its next message when an earlier one has come back, so the
 * server is always asked for as much as it can give and never for more.
 *
 *     echo       every connection keeps `depth` messages in flight; every byte that comes back is compared. With
 *                limit=N a connection is reset after so many, and another one opened in its place
 *     fanout     the first `publishers` connections keep `depth` messages in flight, the server sends each to
 *                all connections; order, duplicates and losses are checked at every receiver; with socketio=1
 *                they are events of Socket.IO 5, path=/socket.io/?EIO=4&transport=websocket
 *     idle       connections are opened, then left alone; pings are answered
 *     audience   as idle, until SIGTERM; each message begins with the time it was sent, in nanoseconds of
 *                CLOCK_MONOTONIC, 20 decimal digits. `phase=heard` tells when all have had another one.
 *                Each process may come from an address of its own: source=N
 *     handshake  every slot connects, upgrades, closes and begins again
 *     http       every connection repeats GET over keep-alive, and reconnects when the server closes
 *     busy       no closed loop: every connection sends once a second, one after the other through the second, and
 *                gets it back; what the first one sends goes to all. Latencies are those of the echoes, and for the
 *                broadcasts the time until the last connection had it
 *
 * Two lines are printed, in words of the form key=value. `phase=open ...` comes when all connections stand;
 * a pause follows in which the caller may read the server's CPU time and memory. `phase=done ...` comes at
 * the end, once nothing is in flight any more: `total` counts all that was answered between the two lines,
 * while rates and latencies leave the warm-up out.
 *
 * One path of data: the event loop calls on_event(), which moves a connection through its states. What a
 * mode does differently stands in its `struct mode`: a few functions that the path calls. All output goes
 * through flush(), which asks next_output() for the next bytes whenever the last ones have left.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_EVENTS = 512,
    READ_SIZE = 256 * 1024,
    HEAD_SIZE = 4096,           /* largest head of an HTTP response that we accept */
    AUDIENCE_STAMP = 20,
    FIRST_PORT = 10000,         /* of those that connections with a source have, one each */
    STAMP_SIZE = 36,            /* a fan-out message begins with its stamp: 4 + 16 + 16 hexadecimal digits */
    SMALL_SIZE = 125,           /* RFC 6455 5.5: a control frame's payload is at most 125 bytes */
    BATCH_SIZE = 64 * 1024,     /* as many echo frames as fit in here leave in one send */
    HISTOGRAM_SIZE = 64 * 60,
};

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* The nonce of RFC 6455 1.3 and the answer to it. */
#define WEBSOCKET_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define WEBSOCKET_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define SECOND UINT64_C(1000000000)
#define SETTLE (SECOND * 4 / 10) /* the pause after phase=open */
#define DRAIN (2 * SECOND)       /* how long the last answers may take */

static const uint8_t MASKING_KEY[4] = {0x37, 0xfa, 0x21, 0x3d};

/* ---- options --------------------------------------------------------------------------------------- */

static struct {
    unsigned port, connections, publishers, depth, size, socketio;
    unsigned opening; /* at most so many connections are being opened at once */
    unsigned patience; /* how many seconds opening all of them may take */
    unsigned source;   /* which of the addresses 127.1.0.0 and above they come from; 0: the kernel's choice */
    unsigned limit;    /* echo: how many messages of a connection; UINT_MAX: no limit */
    double seconds;
    int opcode;
    const char *path;
} options = {
    .connections = 100,
    .publishers = 1,
    .depth = 1,
    .size = 32,
    .limit = UINT_MAX,
    .opening = 64,
    .patience = 60,
    .seconds = 3,
    .opcode = TEXT,
    .path = "/",
};

static const struct {
    const char *name;
    unsigned *value;
} NUMBERS[] = {
    {"port", &options.port},   {"connections", &options.connections}, {"publishers", &options.publishers},
    {"depth", &options.depth}, {"size", &options.size},               {"opening", &options.opening},
    {"socketio", &options.socketio}, {"patience", &options.patience},       {"source", &options.source},
    {"limit", &options.limit},
};

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        die("out of memory");
    return memory;
}

static void parse_option(char *word) {
    char *value = strchr(word, '=');
    if (!value)
        die("not key=value: %s", word);
    *value++ = 0;
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        if (!strcmp(word, NUMBERS[i].name)) {
            *NUMBERS[i].value = (unsigned)strtoul(value, NULL, 10);
            return;
        }
    }
    if (!strcmp(word, "seconds"))
        options.seconds = atof(value);
    else if (!strcmp(word, "opcode"))
        options.opcode = strcmp(value, "binary") ? TEXT : BINARY;
    else if (!strcmp(word, "path"))
        options.path = value;
    else
        die("unknown option: %s", word);
}

/* ---- time and latencies ---------------------------------------------------------------------------- */

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Nanoseconds, in buckets 1/64 of their value wide: any latency is known to 1.6 %. */
static uint64_t histogram[HISTOGRAM_SIZE], latency_count, latency_max;

static void record_latency(uint64_t value) {
    unsigned shift = value < 128 ? 0 : 63 - __builtin_clzll(value) - 6;
    unsigned bucket = (shift << 6) + (unsigned)(value >> shift);
    histogram[bucket < HISTOGRAM_SIZE ? bucket : HISTOGRAM_SIZE - 1]++;
    latency_count++;
    if (value > latency_max)
        latency_max = value;
}

static double latency_ms(double quantile) {
    uint64_t rank = (uint64_t)(quantile * (double)latency_count), seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_SIZE; bucket++) {
        seen += histogram[bucket];
        if (seen > rank) {
            unsigned shift = bucket < 128 ? 0 : bucket / 64 - 1;
            return (double)((uint64_t)(bucket - (shift << 6)) << shift) / 1e6;
        }
    }
    return (double)latency_max / 1e6;
}

/* ---- connections ----------------------------------------------------------------------------------- */

enum state { UNUSED, CONNECTING, UPGRADING, OPEN, CLOSING };

/* Takes frames apart as they come, so that a large message is never copied. */
struct reader {
    uint8_t header[10]; /* a server's frames carry no masking key */
    unsigned header_length;
    uint64_t frame_left;       /* payload still to come; valid once the header is whole */
    int opcode;                /* of the current data message */
    uint64_t message_length;   /* its payload so far */
    uint8_t small[SMALL_SIZE]; /* payload of the current control frame so far */
    unsigned small_length;
};

struct connection {
    int fd;
    enum state state;
    uint64_t started; /* when the connection attempt or the request began */

    bool watching_output;
    const uint8_t *out; /* bytes being sent; they belong to the mode or to the fields below */
    size_t out_length, out_offset;
    uint8_t control[6 + SMALL_SIZE]; /* a pong or close waiting for the boundary between two frames */
    unsigned control_length;
    uint8_t control_out[6 + SMALL_SIZE];

    unsigned due;       /* messages or requests to be sent */
    unsigned in_flight; /* echo, http: sent and not yet answered */
    unsigned received;  /* echo: data messages that have come */
    struct reader reader;
    char *head; /* head of a response, while it arrives */
    size_t head_length;

    uint64_t *sent; /* echo: send times of the messages in flight, a ring of `depth` */
    unsigned sent_first;

    uint8_t *own;      /* fanout: a publisher's frame; NULL for the others */
    uint64_t sequence; /* fanout: the publisher's next sequence number */
    int64_t *last;     /* fanout: the last sequence number seen of each publisher */
    uint8_t first;     /* fanout: the first byte of the message that comes */
    char stamp[STAMP_SIZE + 1];

    bool pinged;               /* audience */
    bool reading_body, closes; /* http */
    int64_t body_left;         /* http: -1 means up to the end of the stream */
};

struct mode {
    const char *name;
    bool plain;    /* no WebSocket handshake */
    bool restarts; /* connections are opened again and again, and only from the beginning of the run */
    void (*setup)(void);
    void (*begin)(struct connection *);                            /* the run begins: its first work */
    void (*tick)(uint64_t time);                                   /* called at least once a millisecond */
    void (*opened)(struct connection *);                           /* the handshake is done */
    bool (*prepare)(struct connection *);                          /* sets the next bytes to send */
    void (*payload)(struct connection *, const uint8_t *, size_t); /* a part of a data message has come */
    void (*message)(struct connection *, uint64_t time);           /* a whole data message has come */
    bool (*ended)(struct connection *);                            /* true: this end was expected */
    uint64_t (*unanswered)(void);
    void (*report)(void);
};

static const struct mode *mode;
static struct connection *connections;
static int epoll_fd;
static bool running;   /* new messages may be sent */
static bool measuring; /* the warm-up is over */
static uint64_t total, measured;
static unsigned opened, opening, failed, attempted;
static uint64_t bad, closed, pings, reconnects;
static char failure[160]; /* the first reason */
static uint8_t read_buffer[READ_SIZE];
static char request[512];
static size_t request_length;

static void count(uint64_t units) {
    total += units;
    if (measuring)
        measured += units;
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

static void start_connection(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->state = CONNECTING;
    c->watching_output = true;
    c->out_length = c->out_offset = c->head_length = 0;
    c->control_length = 0;
    c->received = 0;
    c->reading_body = c->closes = false;
    memset(&c->reader, 0, sizeof c->reader);
    opening++;
    if (options.limit != UINT_MAX) {
        /* A socket that is closed is reset: it would hold its port for a minute, and soon there were none left. */
        struct linger reset = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    if (options.source) {
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr = htonl(0x7f010000 + options.source);
        /* The kernel's own search for a free port looks at thousands once half of them are taken. */
        source.sin_port = htons((uint16_t)(FIRST_PORT + (c - connections)));
        setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(c->fd, (struct sockaddr *)&source, sizeof source))
            die("bind: %s", strerror(errno));
    }
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

/* Opens connections, but only `opening` of them at once: a burst would measure the listen queue. */
static void open_more(void) {
    while (attempted < options.connections && opening < options.opening) {
        connections[attempted].started = now();
        start_connection(&connections[attempted++]);
    }
}

/* The connection is over, for whatever reason. */
static void end_connection(struct connection *c, const char *reason) {
    enum state state = c->state;
    close(c->fd);
    c->state = UNUSED;
    if (state == CONNECTING || state == UPGRADING) {
        opening--;
        failed++;
        if (!failure[0])
            snprintf(failure, sizeof failure, "%s", reason);
        return;
    }
    if (mode->ended && mode->ended(c))
        return;
    closed++;
    if (!failure[0])
        snprintf(failure, sizeof failure, "%s", reason);
}

static bool has_frames(const struct connection *c) {
    return c->state == OPEN || c->state == CLOSING;
}

static void become_open(struct connection *c) {
    opening--;
    opened++;
    c->state = OPEN;
    free(c->head);
    c->head = NULL;
    if (mode->opened)
        mode->opened(c);
}

/* ---- output ---------------------------------------------------------------------------------------- */

static size_t write_header(uint8_t *to, int opcode, uint64_t length, bool masked) {
    size_t size = 0;
    uint8_t bit = masked ? 0x80 : 0;
    to[size++] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        to[size++] = bit | (uint8_t)length;
    } else {
        int bytes = length < 65536 ? 2 : 8;
        to[size++] = bit | (bytes == 2 ? 126 : 127);
        while (bytes--)
            to[size++] = (uint8_t)(length >> (8 * bytes));
    }
    if (masked) {
        memcpy(to + size, MASKING_KEY, 4);
        size += 4;
    }
    return size;
}

static size_t write_frame(uint8_t *to, int opcode, const uint8_t *payload, size_t length) {
    size_t size = write_header(to, opcode, length, true);
    for (size_t i = 0; i < length; i++)
        to[size + i] = payload[i] ^ MASKING_KEY[i & 3];
    return size + length;
}

/* A newer control frame replaces an older unsent one: RFC 6455 5.5.3 lets us answer the latest ping only. */
static void send_control(struct connection *c, int opcode, const uint8_t *payload, size_t length) {
    c->control_length = (unsigned)write_frame(c->control, opcode, payload, length);
}

/* A short message beside those of the mode; it goes the way of control frames. */
static void send_data(struct connection *c, const char *text) {
    c->control_length = (unsigned)write_frame(c->control, TEXT, (const uint8_t *)text, strlen(text));
}

static void set_output(struct connection *c, const uint8_t *bytes, size_t length) {
    c->out = bytes;
    c->out_length = length;
    c->out_offset = 0;
}

static bool next_output(struct connection *c) {
    if (has_frames(c)) {
        if (c->control_length) {
            memcpy(c->control_out, c->control, c->control_length);
            set_output(c, c->control_out, c->control_length);
            c->control_length = 0;
            return true;
        }
        return c->due && mode->prepare && mode->prepare(c);
    }
    return false;
}

static void flush(struct connection *c) {
    while (c->out_offset < c->out_length || next_output(c)) {
        ssize_t sent = send(c->fd, c->out + c->out_offset, c->out_length - c->out_offset, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) {
                end_connection(c, strerror(errno));
            } else if (!c->watching_output) {
                c->watching_output = true;
                watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            }
            return;
        }
        c->out_offset += (size_t)sent;
    }
    if (c->watching_output) {
        c->watching_output = false;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* ---- input: frames --------------------------------------------------------------------------------- */

static unsigned header_size(const struct reader *r) {
    unsigned length = r->header_length < 2 ? 0 : r->header[1] & 127;
    if (length < 126)
        return 2;
    return length == 126 ? 4 : 10;
}

static void header_done(struct connection *c) {
    struct reader *r = &c->reader;
    r->frame_left = r->header[1] & 127;
    if (r->header_length > 2) {
        r->frame_left = 0;
        for (unsigned i = 2; i < r->header_length; i++)
            r->frame_left = r->frame_left << 8 | r->header[i];
    }
    r->small_length = 0;
    if ((r->header[0] & 15) == TEXT || (r->header[0] & 15) == BINARY)
        r->opcode = r->header[0] & 15;
    if (r->header[0] & 0x70 || r->header[1] & 0x80) /* no extension was agreed on; servers must not mask */
        bad++;
    if ((r->header[0] & 8) && r->frame_left > SMALL_SIZE)
        end_connection(c, "a control frame with more than 125 bytes");
}

static void frame_done(struct connection *c, uint64_t time) {
    struct reader *r = &c->reader;
    int opcode = r->header[0] & 15;
    r->header_length = 0;
    if (opcode == PING) {
        pings++;
        c->pinged = true;
        send_control(c, PONG, r->small, r->small_length);
    } else if (opcode == CLOSE && c->state == OPEN) {
        c->state = CLOSING;
        send_control(c, CLOSE, r->small, r->small_length);
    } else if (opcode < 8 && r->header[0] & 0x80) {
        if (mode->message)
            mode->message(c, time);
        r->message_length = 0;
    }
}

static void feed_frames(struct connection *c, const uint8_t *data, size_t length, uint64_t time) {
    struct reader *r = &c->reader;
    while (length && has_frames(c)) {
        if (r->header_length < header_size(r)) {
            r->header[r->header_length++] = *data++;
            length--;
            if (r->header_length < header_size(r))
                continue;
            header_done(c);
        } else {
            size_t part = length < r->frame_left ? length : (size_t)r->frame_left;
            if (r->header[0] & 8) {
                memcpy(r->small + r->small_length, data, part);
                r->small_length += (unsigned)part;
            } else {
                if (mode->payload)
                    mode->payload(c, data, part);
                r->message_length += part;
            }
            r->frame_left -= part;
            data += part;
            length -= part;
        }
        if (r->frame_left == 0 && has_frames(c))
            frame_done(c, time);
    }
}

/* ---- input: heads of HTTP responses ---------------------------------------------------------------- */

/* Adds to the head; returns how many bytes of the data belong to it, and 0 in *done while it goes on. */
static size_t feed_head(struct connection *c, const char *data, size_t length, bool *done) {
    size_t before = c->head_length, part = length;
    char *end;
    if (!c->head)
        c->head = allocate(1, HEAD_SIZE + 1);
    if (part > HEAD_SIZE - before)
        part = HEAD_SIZE - before;
    memcpy(c->head + before, data, part);
    c->head[before + part] = 0;
    c->head_length += part;
    end = strstr(c->head, "\r\n\r\n");
    *done = end != NULL;
    if (!end) {
        if (c->head_length >= HEAD_SIZE)
            end_connection(c, "the head of a response is too long");
        return part;
    }
    end[2] = 0; /* keep the last header's CRLF */
    return (size_t)(end + 4 - c->head) - before;
}

/* The value of a header, up to its CRLF; NULL if it is missing. `name` has its colon. */
static const char *header(const struct connection *c, const char *name) {
    for (const char *line = strstr(c->head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        const char *value = line + 2;
        if (!strncasecmp(value, name, strlen(name))) {
            value += strlen(name);
            return value + strspn(value, " \t");
        }
    }
    return NULL;
}

static bool is_value(const char *value, const char *expected) {
    return value && !strncasecmp(value, expected, strlen(expected)) && value[strlen(expected)] == '\r';
}

static void feed_upgrade(struct connection *c, const uint8_t *data, size_t length, uint64_t time) {
    bool done;
    size_t part = feed_head(c, (const char *)data, length, &done);
    if (!done)
        return;
    if (strncmp(c->head, "HTTP/1.1 101", 12) ||
        !is_value(header(c, "sec-websocket-accept:"), WEBSOCKET_ACCEPT)) {
        char reason[64];
        snprintf(reason, sizeof reason, "handshake refused: %.*s", (int)strcspn(c->head, "\r\n"), c->head);
        end_connection(c, reason);
        return;
    }
    if (measuring && mode->restarts)
        record_latency(time - c->started);
    become_open(c);
    feed_frames(c, data + part, length - part, time);
}

/* ---- mode: echo ------------------------------------------------------------------------------------ */

static uint8_t *payload, *batch;
static size_t frame_size;
static unsigned batch_frames;

static void echo_setup(void) {
    uint8_t *frame = allocate(1, options.size + 14);
    payload = allocate(1, options.size + 1);
    for (size_t i = 0; i < options.size; i++)
        payload[i] = (uint8_t)('a' + i % 26);
    frame_size = write_frame(frame, options.opcode, payload, options.size);
    batch_frames = (unsigned)(BATCH_SIZE / frame_size);
    if (batch_frames > options.depth)
        batch_frames = options.depth;
    if (batch_frames == 0)
        batch_frames = 1;
    batch = allocate(batch_frames, frame_size);
    for (unsigned i = 0; i < batch_frames; i++)
        memcpy(batch + i * frame_size, frame, frame_size);
    free(frame);
    for (unsigned i = 0; i < options.connections; i++)
        connections[i].sent = allocate(options.depth, sizeof(uint64_t));
}

static void send_depth(struct connection *c) {
    c->due = options.limit < options.depth ? options.limit : options.depth;
}

static bool echo_prepare(struct connection *c) {
    unsigned frames = c->due < batch_frames ? c->due : batch_frames;
    uint64_t time = now();
    for (unsigned i = 0; i < frames; i++)
        c->sent[(c->sent_first + c->in_flight++) % options.depth] = time;
    c->due -= frames;
    set_output(c, batch, frames * frame_size);
    return true;
}

static void echo_payload(struct connection *c, const uint8_t *data, size_t length) {
    uint64_t offset = c->reader.message_length;
    if (offset + length > options.size || memcmp(data, payload + offset, length)) {
        bad++;
        end_connection(c, "the echo differs");
    }
}

static void echo_message(struct connection *c, uint64_t time) {
    if (c->reader.message_length != options.size || c->reader.opcode != options.opcode)
        bad++;
    if (!c->in_flight) {
        bad++; /* more answers than questions */
        return;
    }
    count(1);
    if (measuring)
        record_latency(time - c->sent[c->sent_first]);
    c->sent_first = (c->sent_first + 1) % options.depth;
    c->in_flight--;
    c->received++;
    if (c->received == options.limit)
        end_connection(c, "");
    else if (running && c->received + c->in_flight + c->due < options.limit)
        c->due++;
}

static void echo_opened(struct connection *c) {
    if (running)
        send_depth(c);
}

static bool echo_ended(struct connection *c) {
    if (c->received < options.limit)
        return false;
    opened--;
    reconnects++;
    if (running)
        start_connection(c);
    return true;
}

/* ---- mode: fanout ---------------------------------------------------------------------------------- */

static uint64_t published, duplicates, reordered, gaps;
/* What surrounds a message; the size leaves it out. */
static const char *fanout_before = "", *fanout_after = "";
static size_t fanout_offset, fanout_size;

static void fanout_setup(void) {
    if (options.size < STAMP_SIZE)
        options.size = STAMP_SIZE;
    if (options.socketio) {
        fanout_before = "42[\"m\",\"";
        fanout_after = "\"]";
    }
    fanout_offset = strlen(fanout_before);
    fanout_size = fanout_offset + options.size + strlen(fanout_after);
    if (options.publishers > options.connections)
        options.publishers = options.connections;
    for (unsigned i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        c->last = allocate(options.publishers, sizeof *c->last);
        for (unsigned j = 0; j < options.publishers; j++)
            c->last[j] = -1;
        if (i < options.publishers)
            c->own = allocate(1, fanout_size + 14);
    }
    payload = allocate(1, fanout_size + 1);
    memset(payload, 'x', fanout_size);
    memcpy(payload, fanout_before, fanout_offset);
    memcpy(payload + fanout_offset + options.size, fanout_after, strlen(fanout_after));
}

static void fanout_begin(struct connection *c) {
    if (c->own)
        send_depth(c);
}

static bool fanout_prepare(struct connection *c) {
    char stamp[STAMP_SIZE + 1];
    snprintf(stamp, sizeof stamp, "%04x%016llx%016llx", (unsigned)(c - connections) & 0xffff,
             (unsigned long long)c->sequence++, (unsigned long long)now());
    memcpy(payload + fanout_offset, stamp, STAMP_SIZE);
    set_output(c, c->own, write_frame(c->own, TEXT, payload, fanout_size));
    c->due--;
    published++;
    return true;
}

static void fanout_payload(struct connection *c, const uint8_t *data, size_t length) {
    uint64_t offset = c->reader.message_length;
    if (!offset)
        c->first = data[0];
    for (; length && offset < fanout_offset; offset++, data++, length--)
        ;
    offset -= fanout_offset;
    if (offset < STAMP_SIZE)
        memcpy(c->stamp + offset, data, length < STAMP_SIZE - offset ? length : STAMP_SIZE - offset);
}

/* What Socket.IO says beside events: open, which asks for a connect, and ping. */
static bool socketio_control(struct connection *c) {
    if (c->first == '0')
        send_data(c, "40");
    else if (c->first == '2')
        send_data(c, "3");
    return c->reader.message_length != fanout_size;
}

static uint64_t hexadecimal(const char *digits, unsigned count) {
    uint64_t value = 0;
    while (count--) {
        unsigned digit = (unsigned char)*digits++;
        value = value << 4 | (digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return value;
}

static void check_sequence(struct connection *c, uint64_t publisher, int64_t sequence) {
    int64_t last = c->last[publisher];
    if (sequence == last) {
        duplicates++;
    } else if (sequence < last) {
        reordered++;
    } else {
        gaps += (uint64_t)(sequence - last - 1);
        c->last[publisher] = sequence;
    }
}

static void fanout_message(struct connection *c, uint64_t time) {
    uint64_t publisher;
    if (options.socketio && socketio_control(c))
        return;
    publisher = hexadecimal(c->stamp, 4);
    if (c->reader.message_length != fanout_size || publisher >= options.publishers) {
        bad++;
        return;
    }
    count(1);
    check_sequence(c, publisher, (int64_t)hexadecimal(c->stamp + 4, 16));
    if (measuring)
        record_latency(time - hexadecimal(c->stamp + 20, 16));
    if (running && c == &connections[publisher])
        c->due++;
}

static uint64_t fanout_unanswered(void) {
    uint64_t expected = published * opened;
    return expected > total ? expected - total : 0;
}

static void fanout_report(void) {
    printf(" published=%llu duplicates=%llu reordered=%llu gaps=%llu", (unsigned long long)published,
           (unsigned long long)duplicates, (unsigned long long)reordered, (unsigned long long)gaps);
}

/* ---- mode: busy ------------------------------------------------------------------------------------ */

/* A message: which kind, a broadcast's number, and when it was sent. */
enum { BUSY_SIZE = 1 + 16 + 16, MOST_BROADCASTS = 4096 };
static const char ECHOED = 'e', BROADCAST = 'b';

static struct {
    unsigned next;     /* the connection that sends next */
    uint64_t send_at;  /* and when */
    uint64_t broadcasts, deliveries, expected;
    uint64_t last[MOST_BROADCASTS]; /* nanoseconds until the last connection had it */
} busy;

static void busy_setup(void) {
    for (unsigned i = 0; i < options.connections; i++)
        connections[i].own = allocate(1, BUSY_SIZE + 14);
}

static void busy_tick(uint64_t time) {
    if (!running)
        return;
    if (!busy.send_at)
        busy.send_at = time;
    for (; busy.send_at <= time; busy.send_at += SECOND / options.connections) {
        struct connection *c = &connections[busy.next];
        busy.next = (busy.next + 1) % options.connections;
        if (c->state == OPEN) {
            c->due++;
            flush(c);
        }
    }
}

static bool busy_prepare(struct connection *c) {
    bool is_broadcast = c == connections;
    char text[BUSY_SIZE + 1];
    snprintf(text, sizeof text, "%c%016llx%016llx", is_broadcast ? BROADCAST : ECHOED,
             (unsigned long long)busy.broadcasts, (unsigned long long)now());
    set_output(c, c->own, write_frame(c->own, TEXT, (const uint8_t *)text, BUSY_SIZE));
    c->due--;
    if (is_broadcast) {
        busy.expected += opened - closed;
        busy.broadcasts++;
    } else {
        c->in_flight++;
    }
    return true;
}

static void busy_payload(struct connection *c, const uint8_t *data, size_t length) {
    uint64_t offset = c->reader.message_length;
    if (offset < BUSY_SIZE)
        memcpy(c->stamp + offset, data, length < BUSY_SIZE - offset ? length : BUSY_SIZE - offset);
}

static void busy_message(struct connection *c, uint64_t time) {
    uint64_t sent = hexadecimal(c->stamp + 17, 16);
    if (c->reader.message_length != BUSY_SIZE) {
        bad++;
    } else if (c->stamp[0] == BROADCAST) {
        uint64_t *last = &busy.last[hexadecimal(c->stamp + 1, 16) % MOST_BROADCASTS];
        busy.deliveries++;
        if (time - sent > *last)
            *last = time - sent;
    } else {
        c->in_flight--;
        count(1);
        if (measuring)
            record_latency(time - sent);
    }
}

static uint64_t busy_unanswered(void) {
    uint64_t echoes = 0;
    for (unsigned i = 0; i < options.connections; i++)
        if (connections[i].state != UNUSED)
            echoes += connections[i].in_flight;
    return echoes + (busy.expected > busy.deliveries ? busy.expected - busy.deliveries : 0);
}

static int compare_times(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void busy_report(void) {
    size_t count = busy.broadcasts < MOST_BROADCASTS ? busy.broadcasts : MOST_BROADCASTS;
    qsort(busy.last, count, sizeof *busy.last, compare_times);
    printf(" broadcasts=%llu last_p50_ms=%.3f last_max_ms=%.3f", (unsigned long long)busy.broadcasts,
           count ? (double)busy.last[count / 2] / 1e6 : 0.0, count ? (double)busy.last[count - 1] / 1e6 : 0.0);
}

/* ---- mode: handshake ------------------------------------------------------------------------------- */

/* The server has to close the TCP connection (RFC 6455 7.1.1), so its end is what completes a cycle. */
static void handshake_begin(struct connection *c) {
    c->started = now();
    start_connection(c);
}

static void handshake_opened(struct connection *c) {
    static const uint8_t normal_closure[2] = {1000 >> 8, 1000 & 0xff};
    opened--; /* slots, not connections */
    c->state = CLOSING;
    send_control(c, CLOSE, normal_closure, sizeof normal_closure);
}

static bool handshake_ended(struct connection *c) {
    count(1);
    if (running)
        handshake_begin(c);
    return true;
}

static uint64_t handshake_unanswered(void) {
    uint64_t slots = 0;
    for (unsigned i = 0; i < options.connections; i++)
        slots += connections[i].state != UNUSED;
    return slots;
}

/* ---- mode: http ------------------------------------------------------------------------------------ */

static void http_begin(struct connection *c) {
    c->due = 1;
    c->started = now();
}

static bool http_prepare(struct connection *c) {
    c->due = 0;
    c->in_flight = 1;
    set_output(c, (const uint8_t *)request, request_length);
    return true;
}

/* After a reconnect the request that was due, or got lost, is sent again, and its clock goes on. */
static void http_opened(struct connection *c) {
    c->due = running;
}

static void http_reconnect(struct connection *c) {
    opened--;
    reconnects++;
    c->in_flight = 0;
    start_connection(c);
}

static void http_response_done(struct connection *c, uint64_t time) {
    count(1);
    if (measuring)
        record_latency(time - c->started);
    c->reading_body = false;
    c->head_length = 0;
    c->in_flight = 0;
    if (running)
        http_begin(c);
}

static bool http_ended(struct connection *c) {
    if (c->reading_body && c->body_left < 0)
        http_response_done(c, now());
    else if (c->head_length)
        return false; /* cut off in the middle of a response */
    if (running)
        http_reconnect(c);
    return true;
}

static void http_head_done(struct connection *c) {
    const char *length = header(c, "content-length:");
    if (strncmp(c->head + 8, " 200", 4) || header(c, "transfer-encoding:"))
        bad++; /* our peers all answer 200 with a length or up to the end */
    c->body_left = length ? atoll(length) : -1;
    c->closes = is_value(header(c, "connection:"), "close") ||
                (!strncmp(c->head, "HTTP/1.0", 8) && !is_value(header(c, "connection:"), "keep-alive"));
    c->reading_body = true;
}

static void feed_http(struct connection *c, const uint8_t *data, size_t length, uint64_t time) {
    if (!c->reading_body) {
        bool done;
        size_t part = feed_head(c, (const char *)data, length, &done);
        data += part;
        length -= part;
        if (!done)
            return;
        http_head_done(c);
    }
    if (c->body_left < 0)
        return;
    c->body_left -= (int64_t)length;
    if (c->body_left < 0)
        bad++;
    if (c->body_left > 0)
        return;
    http_response_done(c, time);
    if (c->closes)
        end_connection(c, "");
}

/* ---- audience -------------------------------------------------------------------------------------- */

static volatile sig_atomic_t ended;

static void audience_end(int number) {
    (void)number;
    ended = 1;
}

static void audience_setup(void) {
    signal(SIGTERM, audience_end);
}

static void audience_payload(struct connection *c, const uint8_t *data, size_t length) {
    size_t part = AUDIENCE_STAMP - c->sent_first < length ? AUDIENCE_STAMP - c->sent_first : length;
    memcpy(c->stamp + c->sent_first, data, part);
    c->sent_first += (unsigned)part;
}

static void audience_message(struct connection *c, uint64_t time) {
    c->stamp[c->sent_first] = 0;
    c->sent_first = 0;
    count(1);
    record_latency(time - strtoull(c->stamp, NULL, 10));
    if (total % options.connections == 0) {
        printf("phase=heard total=%llu\n", (unsigned long long)total);
        fflush(stdout);
    }
}

static void audience_report(void) {
    unsigned pinged = 0;
    for (unsigned i = 0; i < options.connections; i++)
        pinged += connections[i].pinged;
    printf(" pinged=%u", pinged);
}

/* ---- the path of data ------------------------------------------------------------------------------ */

static void on_connected(struct connection *c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        end_connection(c, strerror(error));
    } else if (mode->plain) {
        become_open(c);
    } else {
        c->state = UPGRADING;
        set_output(c, (const uint8_t *)request, request_length);
    }
}

static void on_input(struct connection *c) {
    ssize_t length = recv(c->fd, read_buffer, sizeof read_buffer, 0);
    uint64_t time = now();
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0)
        end_connection(c, length ? strerror(errno) : "closed by the server");
    else if (c->state == UPGRADING)
        feed_upgrade(c, read_buffer, (size_t)length, time);
    else if (mode->plain)
        feed_http(c, read_buffer, (size_t)length, time);
    else
        feed_frames(c, read_buffer, (size_t)length, time);
}

static void on_event(struct connection *c, uint32_t events) {
    if (c->state == CONNECTING)
        on_connected(c);
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_input(c);
    if (c->state != UNUSED && c->state != CONNECTING)
        flush(c);
}

static bool all_open(void) {
    open_more();
    return opened + failed == options.connections;
}

static uint64_t unanswered(void) {
    uint64_t messages = 0;
    if (mode->unanswered)
        return mode->unanswered();
    for (unsigned i = 0; i < options.connections; i++)
        if (connections[i].state != UNUSED)
            messages += connections[i].in_flight;
    return messages;
}

static bool all_answered(void) {
    return unanswered() == 0;
}

static bool told_to_end(void) {
    return ended;
}

static void run_until(uint64_t deadline, bool (*finished)(void)) {
    struct epoll_event events[MAX_EVENTS];
    while (!finished()) {
        uint64_t time = now();
        if (time >= deadline)
            return;
        if (mode->tick)
            mode->tick(time);
        uint64_t left = (deadline - time) / (1000 * 1000) + 1, longest = mode->tick ? 1 : 50;
        int ready = epoll_wait(epoll_fd, events, MAX_EVENTS, (int)(left < longest ? left : longest));
        for (int i = 0; i < ready; i++)
            on_event(events[i].data.ptr, events[i].events);
    }
}

/* ---- the run --------------------------------------------------------------------------------------- */

static const struct mode MODES[] = {
    {
        .name = "echo",
        .setup = echo_setup,
        .begin = send_depth,
        .opened = echo_opened,
        .prepare = echo_prepare,
        .payload = echo_payload,
        .message = echo_message,
        .ended = echo_ended,
    },
    {
        .name = "fanout",
        .setup = fanout_setup,
        .begin = fanout_begin,
        .prepare = fanout_prepare,
        .payload = fanout_payload,
        .message = fanout_message,
        .unanswered = fanout_unanswered,
        .report = fanout_report,
    },
    {
        .name = "busy",
        .setup = busy_setup,
        .tick = busy_tick,
        .prepare = busy_prepare,
        .payload = busy_payload,
        .message = busy_message,
        .unanswered = busy_unanswered,
        .report = busy_report,
    },
    {
        .name = "idle",
    },
    {
        .name = "audience",
        .setup = audience_setup,
        .payload = audience_payload,
        .message = audience_message,
        .report = audience_report,
    },
    {
        .name = "handshake",
        .restarts = true,
        .begin = handshake_begin,
        .opened = handshake_opened,
        .ended = handshake_ended,
        .unanswered = handshake_unanswered,
    },
    {
        .name = "http",
        .plain = true,
        .begin = http_begin,
        .opened = http_opened,
        .prepare = http_prepare,
        .ended = http_ended,
    },
};

static void choose_mode(const char *name) {
    for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
        if (!strcmp(MODES[i].name, name))
            mode = &MODES[i];
    if (!mode)
        die("unknown mode: %s", name);
}

static void make_request(void) {
    const char *upgrade = mode->plain ? "" :
        "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://127.0.0.1\r\n"
        "Sec-WebSocket-Key: " WEBSOCKET_KEY "\r\nSec-WebSocket-Version: 13\r\n";
    request_length = (size_t)snprintf(request, sizeof request,
                                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s\r\n",
                                      options.path, options.port, upgrade);
    if (request_length >= sizeof request)
        die("the path is too long");
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < options.connections + 16)
        die("RLIMIT_NOFILE allows %llu descriptors only", (unsigned long long)limit.rlim_cur);
}

static void set_up(void) {
    raise_file_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = allocate(options.connections, sizeof *connections);
    make_request();
    if (mode->setup)
        mode->setup();
}

static void begin(void) {
    running = true;
    for (unsigned i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        if (mode->begin && (mode->restarts || c->state == OPEN))
            mode->begin(c);
        if (c->state == OPEN)
            flush(c);
    }
}

static double client_cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print_failure(void) {
    if (failure[0])
        fprintf(stderr, "%s\n", failure);
}

static void print_report(double elapsed) {
    printf("phase=done elapsed=%.3f total=%llu per_s=%.1f", elapsed, (unsigned long long)total,
           (double)measured / elapsed);
    printf(" p50_ms=%.4f p99_ms=%.4f p999_ms=%.4f max_ms=%.4f", latency_ms(0.5), latency_ms(0.99),
           latency_ms(0.999), (double)latency_max / 1e6);
    printf(" opened=%u failed=%u bad=%llu closed=%llu", opened, failed, (unsigned long long)bad,
           (unsigned long long)closed);
    printf(" unanswered=%llu pings=%llu reconnects=%llu", (unsigned long long)unanswered(),
           (unsigned long long)pings, (unsigned long long)reconnects);
    if (mode->report)
        mode->report();
    printf(" client_cpu=%.3f\n", client_cpu());
}

int main(int argc, char **argv) {
    if (argc < 3)
        die("usage: load echo|fanout|busy|idle|audience|handshake|http port=PORT [key=value ...]");
    choose_mode(argv[1]);
    for (int i = 2; i < argc; i++)
        parse_option(argv[i]);
    if (!options.port || !options.connections || !options.depth || !options.publishers ||
        !options.limit)
        die("port, connections, publishers, depth and limit must be positive");
    set_up();

    uint64_t began = now();
    if (!mode->restarts)
        run_until(began + options.patience * SECOND, all_open);
    printf("phase=open opened=%u failed=%u connect_s=%.3f\n", opened, failed, (double)(now() - began) / 1e9);
    fflush(stdout);
    if (!mode->restarts && opened == 0) {
        print_failure();
        return 1;
    }
    run_until(now() + SETTLE, told_to_end);

    uint64_t duration = (uint64_t)(options.seconds * 1e9), start = now(), warm_up = duration * 15 / 100;
    begin();
    run_until(start + warm_up, told_to_end);
    measuring = true;
    uint64_t measuring_from = now();
    run_until(start + duration, told_to_end);
    measuring = running = false;
    double elapsed = (double)(now() - measuring_from) / 1e9;
    run_until(now() + DRAIN, all_answered);
    print_report(elapsed);
    print_failure();
    return 0;
}

/* floor: the least that a WebSocket echo server can do. One thread, epoll, no features.
 *
 *     floor PORT
 *
 * It knows the handshake, unmasks what comes and sends it back, and nothing else: no limits, no UTF-8 check,
 * no fragments, no pings, no timeouts. What it costs per message is what the kernel costs, so the distance of
 * a server from the floor is that server's own work. A close frame is echoed like any other, then the
 * connection is closed. Listens on 127.0.0.1 only; not for any use but measuring.
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
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENTS = 512, FIRST_BUFFER = 4096, CLOSE = 8 };

struct connection {
    int fd;
    bool open;      /* the handshake is done */
    bool finished;  /* a close frame was answered */
    uint8_t *input; /* bytes that are not a whole frame yet */
    size_t input_length, input_size;
    uint8_t *output; /* what the socket would not take; nothing is read while there is some */
    size_t output_length, output_offset;
};

static int epoll_fd;

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* ---- the handshake: SHA-1 (RFC 3174) and base64 ------------------------------------------------------ */

static uint32_t rotate(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

static void sha1_block(uint32_t state[5], const uint8_t block[64]) {
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        if (i < 16)
            w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
        else
            w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t f = b ^ c ^ d;
        if (i < 20)
            f = (b & c) | (~b & d);
        else if (i >= 40 && i < 60)
            f = (b & c) | (b & d) | (c & d);
        uint32_t next = rotate(a, 5) + f + e + constants[i / 20] + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* The digest of a text of fewer than 120 bytes. */
static void sha1(const char *text, uint8_t digest[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[128] = {0};
    size_t length = strlen(text), size = length + 9 <= 64 ? 64 : 128;
    memcpy(blocks, text, length);
    blocks[length] = 0x80;
    blocks[size - 2] = (uint8_t)(length * 8 >> 8);
    blocks[size - 1] = (uint8_t)(length * 8);
    for (size_t i = 0; i < size; i += 64)
        sha1_block(state, blocks + i);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_digest(const uint8_t digest[20], char text[29]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 7; i++) {
        uint32_t bits = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8;
        if (i < 6)
            bits |= digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            text[4 * i + j] = alphabet[bits >> (18 - 6 * j) & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

/* Answers the request; returns its length, 0 while it is not complete, -1 if it is not for us. */
static ssize_t handshake(struct connection *c) {
    static const char name[] = "sec-websocket-key:";
    char key[64] = "", accept[29], answer[256];
    uint8_t digest[20];
    char *head = (char *)c->input, *end = memmem(head, c->input_length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    for (char *line = head; line < end; line = strstr(line, "\r\n") + 2)
        if (!strncasecmp(line, name, sizeof name - 1))
            sscanf(line + sizeof name - 1, " %24s", key);
    if (!key[0])
        return -1;
    strcat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"); /* RFC 6455 1.3 */
    sha1(key, digest);
    base64_of_digest(digest, accept);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n",
                          accept);
    if (send(c->fd, answer, (size_t)length, MSG_NOSIGNAL) != length)
        return -1;
    c->open = true;
    return end + 4 - head;
}

/* ---- frames ---------------------------------------------------------------------------------------- */

static void unmask(uint8_t *to, const uint8_t *from, size_t length, const uint8_t key[4]) {
    uint64_t wide, word;
    size_t i = 0;
    memcpy(&wide, key, 4);
    memcpy((uint8_t *)&wide + 4, key, 4);
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < length; i++)
        to[i] = from[i] ^ key[i & 3];
}

/* Turns the whole frames at the front of the input into their echoes, in place: an echo is four bytes (the
 * masking key) shorter than its frame, so it never overtakes what is still to be read. */
static size_t echo_frames(struct connection *c, size_t *consumed) {
    uint8_t *in = c->input, *end = c->input + c->input_length, *out = c->input;
    while (end - in >= 6) {
        size_t header = 2;
        uint64_t length = in[1] & 127;
        if (length >= 126) {
            header = length == 126 ? 4 : 10;
            if ((size_t)(end - in) < header + 4)
                break;
            length = 0;
            for (size_t i = 2; i < header; i++)
                length = length << 8 | in[i];
        }
        if ((uint64_t)(end - in) < header + 4 + length)
            break;
        uint8_t key[4];
        memcpy(key, in + header, 4);
        c->finished |= (in[0] & 15) == CLOSE;
        memmove(out, in, header);
        out[1] &= 127;
        unmask(out + header, in + header + 4, length, key);
        out += header + length;
        in += header + 4 + length;
    }
    *consumed = (size_t)(in - c->input);
    return (size_t)(out - c->input);
}

/* ---- sockets --------------------------------------------------------------------------------------- */

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event))
        die("epoll_ctl");
}

static void end_connection(struct connection *c) {
    close(c->fd);
    free(c->input);
    free(c->output);
    free(c);
}

static void accept_connection(int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->input_size = FIRST_BUFFER;
    c->input = malloc(FIRST_BUFFER);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

/* Keeps what the socket does not take. False: the connection is gone. */
static bool send_or_keep(struct connection *c, const uint8_t *data, size_t length) {
    ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < length) {
        c->output_length = length - (size_t)sent;
        c->output_offset = 0;
        c->output = realloc(c->output, c->output_length);
        memcpy(c->output, data + sent, c->output_length);
        watch(c, EPOLL_CTL_MOD, EPOLLOUT);
    }
    return true;
}

static bool on_writable(struct connection *c) {
    ssize_t sent = send(c->fd, c->output + c->output_offset, c->output_length, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    c->output_offset += (size_t)sent;
    c->output_length -= (size_t)sent;
    if (c->output_length == 0)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

static bool on_readable(struct connection *c) {
    if (c->input_length == c->input_size) {
        c->input_size *= 2;
        c->input = realloc(c->input, c->input_size);
    }
    ssize_t received = recv(c->fd, c->input + c->input_length, c->input_size - c->input_length, 0);
    if (received <= 0)
        return received < 0 && errno == EAGAIN;
    c->input_length += (size_t)received;
    if (!c->open) {
        ssize_t used = handshake(c);
        if (used < 0)
            return false;
        c->input_length -= (size_t)used;
        memmove(c->input, c->input + used, c->input_length);
        if (!c->open)
            return true;
    }
    size_t consumed, length = echo_frames(c, &consumed);
    if (length && !send_or_keep(c, c->input, length))
        return false;
    c->input_length -= consumed;
    if (consumed)
        memmove(c->input, c->input + consumed, c->input_length);
    return !c->finished;
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024))
        die("listen");
    return fd;
}

int main(int argc, char **argv) {
    struct epoll_event events[MAX_EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    if (argc != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    int listener = listen_on(atoi(argv[1]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                accept_connection(listener);
            else if (!(events[i].events & EPOLLOUT ? on_writable(c) : on_readable(c)))
                end_connection(c);
        }
    }
}

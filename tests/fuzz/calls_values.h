/*
 * Arguments for the call fuzzer: from a row of syscalls.def and a random number to six registers.
 * The same number gives the same arguments, wherever it runs.
 *
 * Pointers lead into an arena at a fixed address, so that a guest pointer is the same in each run:
 *
 *     ARENA  [ private, writable ][ hole ][ read-only ][ hole ][ shared ][ hole ]
 */
#ifndef TESTS_FUZZ_CALLS_VALUES_H
#define TESTS_FUZZ_CALLS_VALUES_H

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE         4096UL
#define ARENA        0x10000000UL
#define ARENA_RW     (16 * PAGE)
#define ARENA_RO     (ARENA + 17 * PAGE)
#define ARENA_SHARED (ARENA + 19 * PAGE)
#define ARENA_END    (ARENA + 22 * PAGE)

struct call {
    uint32_t nr;
    bool absent;
    const char *name, *args;
};

struct random {
    uint64_t state;
    int32_t own_pid, child_pid; /* what pids may name, besides nonsense */
    int32_t boss_pid;           /* the supervisor: nobody's victim */
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15UL;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9UL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebUL;
    return z ^ z >> 31;
}

static inline uint64_t random_below(struct random *r, uint64_t limit)
{
    return random_next(r) % limit;
}

static bool arena_map(void)
{
    int flags = MAP_FIXED | MAP_ANONYMOUS;

    return mmap((void *)ARENA, ARENA_RW, PROT_READ | PROT_WRITE, flags | MAP_PRIVATE, -1, 0) !=
               MAP_FAILED &&
           mmap((void *)ARENA_RO, PAGE, PROT_READ, flags | MAP_PRIVATE, -1, 0) != MAP_FAILED &&
           mmap((void *)ARENA_SHARED, 2 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_SHARED, -1,
                0) != MAP_FAILED;
}

/* Numbers around which programs and kernels go wrong. */
static uint64_t odd_number(struct random *r)
{
    uint64_t value;

    switch (random_below(r, 6)) {
    case 0:
        return random_below(r, 5);
    case 1:
        value = 1UL << random_below(r, 64);
        return value + random_below(r, 3) - 1;
    case 2:
        return (uint64_t)0 - random_below(r, 5);
    case 3:
        return PAGE * random_below(r, 9) + random_below(r, 3) - 1;
    case 4:
        return random_below(r, 300);
    default:
        return random_next(r) >> random_below(r, 64);
    }
}

static uint64_t any_size(struct random *r)
{
    static const uint32_t common[] = {0,  1,  4,  7,   8,   12,  16,   24,
                                      32, 64, 88, 100, 128, 512, 4096, 8192};

    if (random_below(r, 4) != 0)
        return common[random_below(r, sizeof(common) / sizeof(common[0]))];
    return odd_number(r);
}

/* Usually a few bits: of a word with many flags each then comes alone, too. */
static uint64_t any_flags(struct random *r)
{
    uint64_t value = 0;

    if (random_below(r, 3) == 0)
        return random_below(r, 12);
    for (uint64_t n = random_below(r, 4); n > 0; n--)
        value |= 1UL << random_below(r, random_below(r, 8) == 0 ? 64 : 24);
    return value;
}

static uint64_t any_fd(struct random *r)
{
    static const int odd[] = {-1, AT_FDCWD, INT_MAX, INT_MIN, 1023, 1 << 20};

    if (random_below(r, 10) == 0)
        return (uint64_t)odd[random_below(r, sizeof(odd) / sizeof(odd[0]))];
    return random_below(r, 40);
}

static uint64_t any_pid(struct random *r)
{
    int32_t pid;

    switch (random_below(r, 6)) {
    case 0:
        pid = 0;
        break;
    case 1:
        pid = r->child_pid;
        break;
    case 2:
        pid = (int32_t)odd_number(r);
        break;
    default:
        pid = r->own_pid;
    }
    /* -1 would end the supervisor of the run, too. */
    return pid == r->boss_pid || pid == -r->boss_pid || pid == -1 ? 0 : (uint64_t)(int64_t)pid;
}

static uint64_t any_address(struct random *r)
{
    switch (random_below(r, 12)) {
    case 0:
        return 0;
    case 1:
        return ARENA + ARENA_RW - random_below(r, 64); /* runs into the hole */
    case 2:
        return ARENA_RO + random_below(r, PAGE);
    case 3:
        return ARENA_SHARED + random_below(r, 2 * PAGE) / 8 * 8;
    case 4:
        return odd_number(r);
    case 5:
        return ARENA + random_below(r, 22) * PAGE;
    default:
        return ARENA + random_below(r, ARENA_RW) / 8 * 8;
    }
}

static void fill_words(struct random *r, uint64_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        switch (random_below(r, 5)) {
        case 0:
            at[i] = any_address(r);
            break;
        case 1:
            at[i] = any_fd(r) | any_flags(r) << 32;
            break;
        case 2:
            at[i] = odd_number(r);
            break;
        default:
            at[i] = random_below(r, 64);
        }
    }
}

/* Where sockets of a round may meet: a few names and ports. */
static void fill_sockaddr(struct random *r, uint64_t *at)
{
    uint8_t *bytes = (uint8_t *)at;

    switch (random_below(r, 6)) {
    case 0:
    case 1: /* AF_UNIX; without a name, abstract, or a path */
        at[0] = 1;
        if (random_below(r, 3))
            memcpy(bytes + 2, random_below(r, 2) ? "/tmp/s\0" : "\0name\0", 7);
        bytes[2 + 5] ^= (uint8_t)random_below(r, 2);
        break;
    case 2:
    case 3: /* AF_INET, 127.0.0.1 */
        at[0] = 2 | (0x90 + random_below(r, 4)) << 24 | 0x0100007fUL << 32;
        at[1] = 0;
        break;
    case 4: /* AF_INET6, ::1 or :: */
        at[0] = 10 | (0x90 + random_below(r, 4)) << 24;
        at[1] = 0;
        at[2] = random_below(r, 2) << 56;
        at[3] = 0;
        break;
    default:
        at[0] = random_below(r, 48) | random_next(r) << 16;
    }
}

/* struct msghdr, with buffers and perhaps descriptors that lie behind it. */
static void fill_message(struct random *r, uint64_t *at)
{
    at[0] = random_below(r, 3) ? 0 : any_address(r); /* msg_name */
    at[1] = random_below(r, 3) ? 0 : any_size(r);
    at[2] = random_below(r, 6) ? (uint64_t)(at + 8) : any_address(r); /* msg_iov */
    at[3] = random_below(r, 6) ? random_below(r, 2) : any_size(r);
    at[4] = random_below(r, 3) ? (uint64_t)(at + 10) : any_address(r); /* msg_control */
    at[5] = random_below(r, 2) ? 0 : random_below(r, 3) ? 24 : any_size(r);
    at[6] = random_below(r, 6) ? 0 : any_flags(r);
    at[8] = any_address(r);
    at[9] = any_size(r);
    at[10] = random_below(r, 4) ? 20 : any_size(r); /* cmsg_len */
    at[11] = random_below(r, 4) ? 1 | (1 + random_below(r, 3)) << 32 : random_next(r);
    at[12] = any_fd(r) | any_fd(r) << 32;
}

/* struct clone_args: flags of namespaces and threads, a few at a time. */
static void fill_clone(struct random *r, uint64_t *at)
{
    static const uint32_t bits[] = {0x100,      0x200,     0x400,     0x800,     0x1000,
                                    0x4000,     0x8000,    0x10000,   0x20000,   0x40000,
                                    0x80000,    0x2000000, 0x4000000, 0x8000000, 0x10000000,
                                    0x20000000, 0x40000000};

    memset(at, 0, 11 * sizeof(*at));
    for (uint64_t n = random_below(r, 4); n > 0; n--)
        at[0] |= bits[random_below(r, sizeof(bits) / sizeof(bits[0]))];
    at[4] = random_below(r, 4) ? 17 : random_below(r, 70);
    if (random_below(r, 6) == 0)
        at[random_below(r, 11)] = odd_number(r);
}

static bool named(const char *type, const char *word)
{
    return strncmp(type, word, strlen(word)) == 0;
}

/* Puts something of that type there; most of it makes sense, so that calls get beyond checks. */
static void fill_type(struct random *r, const char *type, uint64_t *at)
{
    fill_words(r, at, 16);
    if (named(type, "timespec") || named(type, "timeval") || named(type, "itimer")) {
        for (int i = 0; i < 4; i += 2) {
            at[i] = random_below(r, 8) ? 0 : odd_number(r);
            at[i + 1] = random_below(r, 8) ? random_below(r, 100000) : odd_number(r);
        }
    } else if (named(type, "iovec") || named(type, "struct iovec") || named(type, "strv")) {
        for (int i = 0; i < 16; i += 2) {
            at[i] = any_address(r);
            at[i + 1] = any_size(r);
        }
        if (named(type, "strv"))
            at[random_below(r, 4)] = 0;
    } else if (named(type, "sockaddr")) {
        fill_sockaddr(r, at);
    } else if (named(type, "struct msghdr") || named(type, "struct mmsghdr")) {
        fill_message(r, at);
    } else if (named(type, "clone_args")) {
        fill_clone(r, at);
    } else if (named(type, "sigset") || named(type, "fdset")) {
        at[0] = any_flags(r);
    }
}

static uint64_t any_pointer(struct random *r, const char *type)
{
    uint64_t addr = any_address(r);

    if (addr >= ARENA && addr <= ARENA + ARENA_RW - 16 * sizeof(uint64_t))
        fill_type(r, type, (uint64_t *)(addr / 8 * 8));
    return addr;
}

static uint64_t any_path(struct random *r)
{
    static const char *const paths[] = {
        "/tmp/a",
        "/tmp/b",
        "/tmp/d",
        "/tmp/d/a",
        "a",
        "d",
        "d/b",
        "",
        "/",
        ".",
        "..",
        "/dev/null",
        "/dev/zero",
        "/dev/shm/a",
        "/dev/ptmx",
        "/dev/tty",
        "/etc/passwd",
        "/proc/self/exe",
        "/proc/self/fd/5",
        "/proc/self/fd/12",
        "/proc/self/maps",
        "/proc/self/task",
        "/proc/self",
        "/proc/thread-self/status",
        "/proc/sys/kernel/pid_max",
        "/proc",
        "/sys",
        "/tmp/link",
        "/tmp/fifo",
        "/nonexistent/x",
        "user.a",
    };
    char *at = (char *)(ARENA + random_below(r, ARENA_RW / PAGE) * PAGE);
    uint64_t pick = random_below(r, 40), length;

    if (pick < sizeof(paths) / sizeof(paths[0])) {
        strcpy(at, paths[pick]);
        return (uint64_t)at;
    }
    if (pick > 36)
        return any_address(r);
    length = pick == 36 ? 4095 + random_below(r, 2) : 254 + random_below(r, 3);
    at = (char *)ARENA + random_below(r, 8) * PAGE;
    memset(at, 'x', length);
    at[length] = '\0';
    return (uint64_t)at;
}

/* One entry of a row's "args": NAME ':' KIND, or a word that is both. */
static uint64_t any_argument(struct random *r, const char *entry)
{
    const char *kind = entry;

    while (*kind && *kind != ':' && *kind != ',')
        kind++;
    kind = *kind == ':' ? kind + 1 : entry;
    if (random_below(r, 40) == 0)
        return odd_number(r);
    if (named(kind, "in ") || named(kind, "out ") || named(kind, "inout "))
        return any_pointer(r, strchr(kind, ' ') + 1);
    if (named(kind, "fd_flags") || named(kind, "fdset"))
        return any_flags(r);
    if (named(kind, "fd") || named(kind, "dirfd"))
        return any_fd(r);
    if (named(kind, "pid"))
        return any_pid(r);
    if (named(kind, "ptr"))
        return any_pointer(r, "words");
    if (named(kind, "path") || named(kind, "str"))
        return any_path(r);
    if (named(kind, "size") || named(kind, "off"))
        return any_size(r);
    if (named(kind, "sig"))
        return random_below(r, 8) ? random_below(r, 66) : odd_number(r);
    if (named(kind, "hex"))
        return random_below(r, 3) ? any_flags(r) : any_pointer(r, "words");
    if (named(kind, "int") || named(kind, "uint") || named(kind, "long") || named(kind, "ulong") ||
        named(kind, "uid") || named(kind, "gid") || named(kind, "dev"))
        return random_below(r, 2) ? random_below(r, 20) : odd_number(r);
    return any_flags(r);
}

static void any_arguments(struct random *r, const struct call *call, uint64_t ret[6])
{
    const char *entry = call->args;

    for (int i = 0; i < 6; i++) {
        bool more = *entry && !named(entry, "->");

        ret[i] = more ? any_argument(r, entry) : random_next(r);
        while (more && *entry && *entry != ',' && !named(entry, " ->"))
            entry++;
        while (*entry == ',' || *entry == ' ')
            entry++;
    }
}

#endif

/*
 * Printers of what pointers point to. A structure of the guest is copied whole into a local first
 * and printed from there, so that the guest can change it meanwhile without harm. Where the
 * kernel's layout equals the C library's (asserted by abi/ and by the platform's ABI) libc's struct
 * is used.
 */
#include "sentry/kernel/strace/strace_types.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "sentry/mm/usercopy.h"

#define LAST_PLAIN_SIGNAL 31

/* What the kernel reads for rt_sigaction(2); libc's struct differs. */
struct raw_sigaction {
    uint64_t handler, flags, restorer, mask;
};

static void put_int(struct strace_buf *buf, const void *v)
{
    strace_printf(buf, "%d", *(const int *)v);
}

static void put_uint(struct strace_buf *buf, const void *v)
{
    strace_printf(buf, "%u", *(const uint32_t *)v);
}

static void put_long(struct strace_buf *buf, const void *v)
{
    strace_printf(buf, "%ld", *(const long *)v);
}

static void put_ulong(struct strace_buf *buf, const void *v)
{
    strace_printf(buf, "%#lx", *(const unsigned long *)v);
}

static void put_timespec(struct strace_buf *buf, const void *v)
{
    const struct timespec *ts = v;

    strace_printf(buf, "{tv_sec=%ld, tv_nsec=%ld}", ts->tv_sec, ts->tv_nsec);
}

static void put_timeval(struct strace_buf *buf, const void *v)
{
    const struct timeval *tv = v;

    strace_printf(buf, "{tv_sec=%ld, tv_usec=%ld}", tv->tv_sec, tv->tv_usec);
}

static void put_itimerspec(struct strace_buf *buf, const void *v)
{
    const struct itimerspec *its = v;

    strace_printf(buf, "{it_interval=");
    put_timespec(buf, &its->it_interval);
    strace_printf(buf, ", it_value=");
    put_timespec(buf, &its->it_value);
    strace_printf(buf, "}");
}

static void put_itimerval(struct strace_buf *buf, const void *v)
{
    const struct itimerval *itv = v;

    strace_printf(buf, "{it_interval=");
    put_timeval(buf, &itv->it_interval);
    strace_printf(buf, ", it_value=");
    put_timeval(buf, &itv->it_value);
    strace_printf(buf, "}");
}

/* As strace(1): a set that holds more than half of all signals is shown by what it lacks. */
static void put_sigset(struct strace_buf *buf, const void *v)
{
    uint64_t set = *(const uint64_t *)v;
    bool inverted = __builtin_popcountl(set) > 32;
    const char *blank = "";

    strace_printf(buf, inverted ? "~[" : "[");
    for (int signo = 1; signo <= 64; signo++) {
        if ((set >> (signo - 1) & 1) == (inverted ? 1 : 0))
            continue;
        strace_printf(buf, "%s", blank);
        if (signo <= LAST_PLAIN_SIGNAL)
            strace_printf(buf, "%s", sigabbrev_np(signo));
        else
            strace_printf(buf, "RT_%d", signo - LAST_PLAIN_SIGNAL - 1);
        blank = " ";
    }
    strace_printf(buf, "]");
}

static void put_sigaction(struct strace_buf *buf, const void *v)
{
    const struct raw_sigaction *sa = v;

    if (sa->handler <= 1)
        strace_printf(buf, "{sa_handler=%s, sa_mask=", sa->handler ? "SIG_IGN" : "SIG_DFL");
    else
        strace_printf(buf, "{sa_handler=%#lx, sa_mask=", sa->handler);
    put_sigset(buf, &sa->mask);
    strace_printf(buf, ", sa_flags=");
    strace_put_names(buf, "sigaction_flags", sa->flags);
    strace_printf(buf, "}");
}

static void put_stack(struct strace_buf *buf, const void *v)
{
    const stack_t *ss = v;

    strace_printf(buf, "{ss_sp=%#lx, ss_flags=", (unsigned long)ss->ss_sp);
    strace_put_names(buf, "sigstack_flags", (uint32_t)ss->ss_flags);
    strace_printf(buf, ", ss_size=%zu}", ss->ss_size);
}

static void put_limit(struct strace_buf *buf, uint64_t limit)
{
    if (limit == UINT64_MAX)
        strace_printf(buf, "RLIM_INFINITY");
    else
        strace_printf(buf, "%lu", limit);
}

static void put_rlimit(struct strace_buf *buf, const void *v)
{
    const struct rlimit *r = v;

    strace_printf(buf, "{rlim_cur=");
    put_limit(buf, r->rlim_cur);
    strace_printf(buf, ", rlim_max=");
    put_limit(buf, r->rlim_max);
    strace_printf(buf, "}");
}

static void put_pollfd(struct strace_buf *buf, const void *v)
{
    const struct pollfd *p = v;

    strace_printf(buf, "{fd=%d, events=", p->fd);
    strace_put_names(buf, "poll_events", (uint16_t)p->events);
    if (p->revents) {
        strace_printf(buf, ", revents=");
        strace_put_names(buf, "poll_events", (uint16_t)p->revents);
    }
    strace_printf(buf, "}");
}

static void put_epoll_event(struct strace_buf *buf, const void *v)
{
    const struct epoll_event *e = v;

    strace_printf(buf, "{events=");
    strace_put_names(buf, "epoll_events", e->events);
    strace_printf(buf, ", data=%#lx}", e->data.u64);
}

static void put_file_mode(struct strace_buf *buf, uint32_t mode)
{
    strace_put_names(buf, "file_type", mode & S_IFMT);
    strace_printf(buf, "|%#03o", mode & 07777);
}

static void put_stat(struct strace_buf *buf, const void *v)
{
    const struct stat *st = v;

    strace_printf(buf, "{st_mode=");
    put_file_mode(buf, st->st_mode);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        strace_printf(buf, ", st_rdev=makedev(%u, %u)", major(st->st_rdev), minor(st->st_rdev));
    else
        strace_printf(buf, ", st_size=%ld", st->st_size);
    strace_printf(buf, ", ...}");
}

static void put_statx(struct strace_buf *buf, const void *v)
{
    const struct statx *stx = v;

    strace_printf(buf, "{stx_mask=");
    strace_put_names(buf, "statx_mask", stx->stx_mask);
    strace_printf(buf, ", stx_mode=");
    put_file_mode(buf, stx->stx_mode);
    strace_printf(buf, ", stx_size=%lu, ...}", (unsigned long)stx->stx_size);
}

static void put_utsname(struct strace_buf *buf, const void *v)
{
    const struct utsname *u = v;

    strace_printf(buf, "{sysname=");
    strace_put_bytes(buf, u->sysname, strnlen(u->sysname, sizeof(u->sysname)), false);
    strace_printf(buf, ", nodename=");
    strace_put_bytes(buf, u->nodename, strnlen(u->nodename, sizeof(u->nodename)), false);
    strace_printf(buf, ", ...}");
}

static void put_siginfo(struct strace_buf *buf, const void *v)
{
    const siginfo_t *si = v;

    strace_printf(buf, "{si_signo=");
    strace_put_signal(buf, si->si_signo);
    strace_printf(buf, ", si_code=%d, ...}", si->si_code);
}

static void put_wstatus(struct strace_buf *buf, const void *v)
{
    int status = *(const int *)v;

    if (WIFEXITED(status))
        strace_printf(buf, "[{WIFEXITED && WEXITSTATUS == %d}]", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        strace_printf(buf, "[{WIFSIGNALED && WTERMSIG == %d}]", WTERMSIG(status));
    else
        strace_printf(buf, "[%#x]", (uint32_t)status);
}

/* clone3(2): eight 64-bit words; later versions of the struct only grow at its end. */
static void put_clone_args(struct strace_buf *buf, const void *v)
{
    const uint64_t *w = v;

    strace_printf(buf, "{flags=");
    strace_put_names(buf, "clone_flags", w[0] & ~0xffUL);
    strace_printf(buf, ", exit_signal=");
    strace_put_signal(buf, (int)w[4]);
    strace_printf(buf, ", stack=%#lx, stack_size=%#lx, tls=%#lx}", w[5], w[6], w[7]);
}

/* openat2(2): flags, mode, resolve. */
static void put_open_how(struct strace_buf *buf, const void *v)
{
    const uint64_t *w = v;

    strace_printf(buf, "{flags=");
    strace_put_names(buf, "open_flags", w[0]);
    strace_printf(buf, ", mode=%#03lo, resolve=%#lx}", w[1], w[2]);
}

#define ELEMENT_MAX 512
static const struct {
    const char *word;
    size_t size;
    void (*put)(struct strace_buf *buf, const void *v);
} types[] = {
    {"int", sizeof(int), put_int},
    {"uint", sizeof(int), put_uint},
    {"long", sizeof(long), put_long},
    {"ulong", sizeof(long), put_ulong},
    {"timespec", sizeof(struct timespec), put_timespec},
    {"timeval", sizeof(struct timeval), put_timeval},
    {"itimerspec", sizeof(struct itimerspec), put_itimerspec},
    {"itimerval", sizeof(struct itimerval), put_itimerval},
    {"sigset", sizeof(uint64_t), put_sigset},
    {"sigaction", sizeof(struct raw_sigaction), put_sigaction},
    {"stack", sizeof(stack_t), put_stack},
    {"rlimit", sizeof(struct rlimit), put_rlimit},
    {"pollfd", sizeof(struct pollfd), put_pollfd},
    {"epoll_event", sizeof(struct epoll_event), put_epoll_event},
    {"stat", sizeof(struct stat), put_stat},
    {"statx", sizeof(struct statx), put_statx},
    {"utsname", sizeof(struct utsname), put_utsname},
    {"siginfo", sizeof(siginfo_t), put_siginfo},
    {"wstatus", sizeof(int), put_wstatus},
    {"clone_args", 8 * sizeof(uint64_t), put_clone_args},
    {"open_how", 3 * sizeof(uint64_t), put_open_how},
};
static_assert(sizeof(struct utsname) <= ELEMENT_MAX, "the largest element");

static void put_bytes(struct strace_call *call, uaddr_t addr, uint64_t count)
{
    char bytes[STRACE_STRING_MAX];
    size_t want = MIN(count, sizeof(bytes));

    if (copy_from_user_partial(call->mm, bytes, addr, want) != want)
        strace_put_address(&call->line, addr);
    else
        strace_put_bytes(&call->line, bytes, want, count > want);
}

static void put_strings(struct strace_call *call, uaddr_t addr, uint64_t count)
{
    uint64_t p;

    strace_printf(&call->line, "[");
    for (unsigned i = 0;; i++) {
        if (copy_from_user_partial(call->mm, &p, addr + i * sizeof(p), sizeof(p)) != sizeof(p) ||
            p == 0)
            break;
        strace_printf(&call->line, i ? ", " : "");
        if (i == STRACE_ELEMENT_MAX) {
            strace_printf(&call->line, "...");
            break;
        }
        strace_put_string(call, p, STRACE_STRING_MAX);
    }
    strace_printf(&call->line, "]");
}

/* An environment is long and rarely asked for: its size says enough. */
static void put_string_count(struct strace_call *call, uaddr_t addr, uint64_t count)
{
    unsigned n = 0;
    uint64_t p;

    while (n < 1000 &&
           copy_from_user_partial(call->mm, &p, addr + n * sizeof(p), sizeof(p)) == sizeof(p) &&
           p != 0)
        n++;
    strace_put_address(&call->line, addr);
    strace_printf(&call->line, " /* %u vars */", n);
}

static void put_iovecs(struct strace_call *call, uaddr_t addr, uint64_t count)
{
    struct iovec iov;

    strace_printf(&call->line, "[");
    for (uint64_t i = 0; i < MIN(count, (uint64_t)STRACE_ELEMENT_MAX); i++) {
        if (copy_from_user_partial(call->mm, &iov, addr + i * sizeof(iov), sizeof(iov)) !=
            sizeof(iov)) {
            strace_printf(&call->line, "%s...", i ? ", " : "");
            break;
        }
        strace_printf(&call->line, "%s{iov_base=", i ? ", " : "");
        put_bytes(call, (uaddr_t)iov.iov_base, iov.iov_len);
        strace_printf(&call->line, ", iov_len=%zu}", iov.iov_len);
    }
    strace_printf(&call->line, count > STRACE_ELEMENT_MAX ? ", ...]" : "]");
}

static void put_fdset(struct strace_call *call, uaddr_t addr, uint64_t count)
{
    uint64_t words[1024 / 64] = {0};
    size_t size = MIN(((size_t)(uint32_t)count + 63) / 64 * 8, sizeof(words));
    const char *blank = "";

    if (copy_from_user_partial(call->mm, words, addr, size) != size) {
        strace_put_address(&call->line, addr);
        return;
    }
    strace_printf(&call->line, "[");
    for (uint32_t fd = 0; fd < MIN((uint32_t)count, 1024U); fd++) {
        if (words[fd / 64] >> (fd % 64) & 1) {
            strace_printf(&call->line, "%s%u", blank, fd);
            blank = " ";
        }
    }
    strace_printf(&call->line, "]");
}

static void put_sockaddr(struct strace_call *call, uaddr_t addr, uint64_t count)
{
    struct sockaddr_storage ss = {0};
    size_t size = MIN((size_t)(uint32_t)count, sizeof(ss));
    struct strace_buf *buf = &call->line;
    char text[INET6_ADDRSTRLEN];

    if (size < sizeof(ss.ss_family) || copy_from_user_partial(call->mm, &ss, addr, size) != size) {
        strace_put_address(buf, addr);
        return;
    }
    strace_printf(buf, "{sa_family=");
    strace_put_names(buf, "sock_domain", ss.ss_family);
    if (ss.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const void *)&ss;
        size_t path = size - offsetof(struct sockaddr_un, sun_path);

        path = MIN(path, sizeof(un->sun_path));
        strace_printf(buf, ", sun_path=");
        /* A leading NUL is an abstract name, and then all of it counts (unix(7)). */
        strace_put_bytes(buf, un->sun_path, un->sun_path[0] ? strnlen(un->sun_path, path) : path,
                         false);
    } else if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&ss;

        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        strace_printf(buf, ", sin_port=%u, sin_addr=\"%s\"", ntohs(in->sin_port), text);
    } else if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&ss;

        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        strace_printf(buf, ", sin6_port=%u, sin6_addr=\"%s\"", ntohs(in6->sin6_port), text);
    }
    strace_printf(buf, "}");
}

/* Types whose elements are not of one size, or lead to further memory. */
static const struct {
    const char *word;
    void (*put)(struct strace_call *call, uaddr_t addr, uint64_t count);
} followed[] = {
    {"bytes", put_bytes},  {"strv", put_strings}, {"strvcount", put_string_count},
    {"iovec", put_iovecs}, {"fdset", put_fdset},  {"sockaddr", put_sockaddr},
};

static void put_elements(struct strace_call *call, size_t type, uaddr_t addr, bool counted,
                         uint64_t count)
{
    uint64_t element[ELEMENT_MAX / sizeof(uint64_t)];
    size_t size = types[type].size;

    if (!counted) {
        if (copy_from_user_partial(call->mm, element, addr, size) != size)
            strace_put_address(&call->line, addr);
        else
            types[type].put(&call->line, element);
        return;
    }
    strace_printf(&call->line, "[");
    for (uint64_t i = 0; i < count; i++) {
        strace_printf(&call->line, i ? ", " : "");
        if (i == STRACE_ELEMENT_MAX ||
            copy_from_user_partial(call->mm, element, addr + i * size, size) != size) {
            strace_printf(&call->line, "...");
            break;
        }
        types[type].put(&call->line, element);
    }
    strace_printf(&call->line, "]");
}

bool strace_put_pointer(struct strace_call *call, struct span type, uaddr_t addr, bool counted,
                        uint64_t count)
{
    bool opaque = type.size > 7 && memcmp(type.at, "struct ", 7) == 0;

    for (size_t i = 0; i < ARRAY_COUNT(followed); i++) {
        if (span_is(type, followed[i].word)) {
            if (addr && call->mm)
                followed[i].put(call, addr, count);
            else
                strace_put_address(&call->line, addr);
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        if (span_is(type, types[i].word)) {
            if (addr && call->mm)
                put_elements(call, i, addr, counted, count);
            else
                strace_put_address(&call->line, addr);
            return true;
        }
    }
    strace_put_address(&call->line, addr);
    return opaque;
}

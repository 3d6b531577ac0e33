/*
 * The call fuzzer: makes random system calls with random and boundary arguments, in the sandbox.
 *
 *     calls SEED SECONDS          rounds, one after the other, until the time is over
 *     calls round SEED [TIMES]    one round of such a run again: "round SEED" is printed at each
 *
 * A round is a child with a seed of its own, which makes some hundred calls, mostly of a few kinds,
 * since bugs are met where the same objects are used again and again. It may do to itself whatever
 * it likes: the supervisor ends what does not come to an end, and takes in the orphans. What must
 * not happen is that the sandbox dies, or that something cannot be ended:
 *
 *     0  all rounds done      3  a process outlives its SIGKILL      4  no process could be made
 *
 * It refuses to run on a real kernel: as root it would not be survived.
 */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/calls_values.h"

#define CALLS_MAX                         200 /* of one thread of a round */
#define FAVOURITES                        12  /* kinds of calls that a round prefers */
#define FORKS_MAX                         6   /* processes of one round, besides the first */
#define MADE_MAX                          (2 * CALLS_MAX * (1 + FORKS_MAX))
#define STUCK_MS                          60   /* without a call for so long: blocked */
#define ROUND_MS                          3000 /* at most */
#define KILL_MS                           20000
#define OTHER_USER                        65534
#define MS                                1000000L

#define SYS_FULL(nr, name, args)          {nr, false, #name, args},
#define SYS_PARTIAL(nr, name, args, note) {nr, false, #name, args},
#define SYS_REFUSED(nr, name, args, note) {nr, true, #name, args},
#define SYS_ABSENT(nr, name, args, note)  {nr, true, #name, args},
#define SYS_RETIRED(nr, name)             {nr, true, #name, ""},

static const struct call calls[] = {
#include "sentry/syscalls/syscalls.def"
};
#define CALL_COUNT (sizeof(calls) / sizeof(calls[0]))

/*
 * Shared by the supervisor and all processes of a round. A call of theirs may well write here: what
 * the supervisor reads is a hint, and a count that cannot be is none.
 */
struct progress {
    uint32_t made;  /* calls */
    uint32_t forks; /* in this round */
    uint32_t last_nr;
    uint64_t last[6];
};
static struct progress *progress;

static long raw_call(uint64_t nr, const uint64_t a[6])
{
    register uint64_t r10 __asm__("r10") = a[3];
    register uint64_t r8 __asm__("r8") = a[4];
    register uint64_t r9 __asm__("r9") = a[5];
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void on_alarm(int signo)
{
}

/* The arena went away, or its rights: it comes back, some times. */
static void on_fault(int signo)
{
    static volatile int faults;

    if (faults++ > 20 || !arena_map())
        _exit(0);
}

/* For the supervisor, whom its victims find by numbers that they make up. */
static void set_all(void (*handler)(int))
{
    for (int signo = 1; signo < NSIG; signo++) {
        if (signo != SIGCHLD)
            signal(signo, handler);
    }
}

static void catch (int signo, void (*handler)(int))
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};

    sigaction(signo, &action, NULL);
}

/* /dev/null, opened before any round could change the tree; the next descriptor after stdio. */
static int null_fd;

/* Descriptors of many kinds, at the low numbers that the generator likes. */
static void open_things(void)
{
    int ends[2];

    for (int i = 0; i < 3; i++)
        dup2(null_fd, i);
    for (int i = 0; i < 2; i++) {
        if (pipe2(ends, i ? O_NONBLOCK : 0) != 0)
            return;
    }
    eventfd(1, EFD_NONBLOCK);
    epoll_create1(0);
    open("/dev/zero", O_RDWR);
    open("/proc/self/maps", O_RDONLY);
    open("/tmp", O_RDONLY | O_DIRECTORY);
    open("/tmp/f", O_RDWR | O_CREAT, 0666);
    open("/etc/passwd", O_RDONLY);
    open("/dev/ptmx", O_RDWR | O_NOCTTY);
    syscall(SYS_memfd_create, "a", 0);
    syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
    syscall(SYS_signalfd4, -1, &(uint64_t){1UL << 9}, 8, 0);
    syscall(SYS_pidfd_open, getpid(), 0);
    syscall(SYS_inotify_init1, 0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends);
    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socket(AF_INET, SOCK_DGRAM, 0);
    socket(AF_INET6, SOCK_STREAM, 0);
}

static bool makes_process(uint32_t nr)
{
    return nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
}

/* One call; false when this process has made enough of them. */
static bool make_call(struct random *r, const struct call *call)
{
    uint64_t args[6];
    long result;

    any_arguments(r, call, args);
    if (makes_process(call->nr) &&
        __atomic_add_fetch(&progress->forks, 1, __ATOMIC_RELAXED) > FORKS_MAX)
        return true;
    progress->last_nr = call->nr;
    memcpy(progress->last, args, sizeof(args));
    __atomic_add_fetch(&progress->made, 1, __ATOMIC_RELAXED);
    result = raw_call(call->nr, args);
    if (makes_process(call->nr) && result > 0)
        r->child_pid = (int32_t)result;
    if (makes_process(call->nr) && result == 0) {
        r->own_pid = getpid();
        r->state ^= 0x55;
    }
    return true;
}

static const struct call *any_call(struct random *r)
{
    const struct call *call = &calls[random_below(r, CALL_COUNT)];

    /* What is not there needs fewer tries; ends come too soon. */
    while ((call->absent && random_below(r, 20) != 0) ||
           ((call->nr == SYS_exit || call->nr == SYS_exit_group) && random_below(r, 20) != 0))
        call = &calls[random_below(r, CALL_COUNT)];
    return call;
}

struct worker {
    struct random random;
    const struct call *const *favourites;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct random *r = &w->random;

    for (int i = 0; i < CALLS_MAX; i++) {
        const struct call *call =
            random_below(r, 3) ? w->favourites[random_below(r, FAVOURITES)] : any_call(r);

        if (!make_call(r, call))
            break;
    }
    return NULL;
}

static void limit(int resource, rlim_t value)
{
    setrlimit(resource, &(struct rlimit){value, value});
}

/*
 * Another user than the supervisor's, whom a round must not be able to end or to write into: by its
 * made-up numbers it would find it. Some rounds keep all capabilities that do not lead there.
 */
static void change_user(bool privileged)
{
    const uint64_t without = 1UL << CAP_KILL | 1UL << CAP_SYS_PTRACE | 1UL << CAP_SETUID |
                             1UL << CAP_SETGID | 1UL << CAP_SYS_RESOURCE;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    prctl(PR_SET_KEEPCAPS, privileged);
    syscall(SYS_setresgid, OTHER_USER, OTHER_USER, OTHER_USER);
    if (syscall(SYS_setresuid, OTHER_USER, OTHER_USER, OTHER_USER) != 0)
        _exit(1);
    if (!privileged || syscall(SYS_capget, &head, data) != 0)
        return;
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= ~(uint32_t)(without >> (32 * i));
        data[i].effective = data[i].permitted;
    }
    syscall(SYS_capset, &head, data);
}

static __attribute__((noreturn)) void run_round(uint64_t seed, int32_t boss)
{
    static const struct call *favourites[FAVOURITES];
    struct random r = {.state = seed, .own_pid = getpid(), .child_pid = 1, .boss_pid = boss};
    struct worker workers[2];
    const struct itimerval ticks = {{0, 5000}, {0, 5000}};
    uint64_t choice = random_next(&r);
    pthread_t thread;

    for (int i = 0; i < FAVOURITES; i++)
        favourites[i] = any_call(&r);
    set_all(SIG_DFL);
    setpgid(0, 0);
    /* What it mounts, and hides by that, ends with the round. */
    if (unshare(CLONE_NEWNS) == 0)
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    open_things();
    limit(RLIMIT_AS, 1UL << 30);
    limit(RLIMIT_FSIZE, 4UL << 20);
    limit(RLIMIT_NOFILE, 200);
    if (!arena_map())
        _exit(1);
    catch (SIGALRM, on_alarm);
    catch (SIGSEGV, on_fault);
    catch (SIGBUS, on_fault);
    change_user(choice & 1);
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){.random = r, .favourites = favourites};
        workers[i].random.state += (uint64_t)i;
    }
    setitimer(ITIMER_REAL, &ticks, NULL);
    if (!(choice & 2) || pthread_create(&thread, NULL, work, &workers[1]) != 0)
        thread = 0;
    work(&workers[0]);
    if (thread)
        pthread_join(thread, NULL);
    _exit(0);
}

static void pause_ns(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* Ends everybody else, and takes in the dead: also those that a round has left behind. */
static bool end_all(void)
{
    for (long waited = 0; waited < KILL_MS; waited++) {
        int32_t pid;

        kill(-1, SIGKILL);
        while ((pid = waitpid(-1, NULL, __WALL | WNOHANG)) > 0)
            ;
        if (pid < 0 && errno == ECHILD)
            return true;
        pause_ns(MS);
    }
    return false;
}

static void print_last(void)
{
    const char *name = "?";

    for (size_t i = 0; i < CALL_COUNT; i++) {
        if (calls[i].nr == progress->last_nr)
            name = calls[i].name;
    }
    printf("last call: %s(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx)\n", name, progress->last[0],
           progress->last[1], progress->last[2], progress->last[3], progress->last[4],
           progress->last[5]);
    fflush(stdout);
}

/* 0, or the exit status that says what went wrong. */
static int one_round(uint64_t seed)
{
    int32_t boss = getpid(), pid;
    uint32_t seen = 0;
    int quiet = 0;

    printf("round %#lx\n", seed);
    fflush(stdout);
    progress->forks = progress->made = 0;
    pid = fork();
    if (pid < 0)
        return 4;
    if (pid == 0)
        run_round(seed, boss);
    for (int ms = 0; ms < ROUND_MS && quiet < STUCK_MS; ms++) {
        uint32_t made = __atomic_load_n(&progress->made, __ATOMIC_RELAXED);

        if (waitpid(pid, NULL, __WALL | WNOHANG) == pid)
            break;
        quiet = made == seen ? quiet + 1 : 0;
        seen = made;
        pause_ns(MS);
    }
    if (end_all())
        return 0;
    print_last();
    return 3;
}

/* How many calls the round has made: 0 if it has overwritten that. */
static uint32_t calls_made(void)
{
    uint32_t made = __atomic_load_n(&progress->made, __ATOMIC_RELAXED);

    return made <= MADE_MAX ? made : 0;
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)(ts.tv_nsec / MS);
}

static int run(struct random *seeds, uint64_t end_ms, bool same, long rounds)
{
    uint64_t made = 0, seed = seeds->state, done = 0;
    int status = 0;

    while (status == 0 && rounds-- != 0 && now_ms() < end_ms) {
        status = one_round(same ? seed : random_next(seeds));
        made += calls_made();
        done++;
    }
    printf("done: %lu rounds, %lu calls, status %d\n", done, made, status);
    return status;
}

int main(int argc, char **argv)
{
    struct random seeds = {0};
    struct utsname name;
    bool same = argc > 2 && strcmp(argv[1], "round") == 0;
    uint64_t end_ms = UINT64_MAX;
    long rounds = -1;

    if (argc < 3) {
        fprintf(stderr, "usage: calls SEED SECONDS | calls round SEED [TIMES]\n");
        return 2;
    }
    if (uname(&name) != 0 || !strstr(name.release, "kvmsentry")) {
        fprintf(stderr, "calls: only for the sandbox: here it would break the machine\n");
        return 2;
    }
    progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED || chdir("/tmp") != 0)
        return 4;
    null_fd = open("/dev/null", O_RDWR);
    if (null_fd < 0)
        return 4;
    set_all(SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    seeds.state = strtoul(argv[same ? 2 : 1], NULL, 0);
    if (same)
        rounds = argc > 3 ? atol(argv[3]) : 1;
    else
        end_ms = now_ms() + strtoul(argv[2], NULL, 10) * 1000;
    return run(&seeds, end_ms, same, rounds);
}

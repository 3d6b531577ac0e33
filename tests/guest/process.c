/*
 * What a process can ask about itself: names, ids, limits, scheduling, segment bases, random
 * numbers, the system. Answers that depend on the host are checked, not printed.
 */
#include <asm/prctl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "check.h"

static void test_uname(void)
{
    struct utsname u;
    int major = 0, minor = 0;

    CHECK_EQ(uname(&u), 0);
    CHECK(strcmp(u.sysname, "Linux") == 0);
    CHECK(strcmp(u.machine, "x86_64") == 0);
    CHECK_EQ(sscanf(u.release, "%d.%d", &major, &minor), 2);
    CHECK(major >= 5);
    CHECK(u.version[0] == '#');
    CHECK(u.nodename[0] != 0);
    CHECK_EQ(RAW(SYS_uname, 8), -EFAULT);
}

static void test_random(void)
{
    unsigned char a[256], b[256];

    CHECK_EQ(getrandom(a, sizeof(a), 0), sizeof(a));
    CHECK_EQ(getrandom(b, sizeof(b), GRND_NONBLOCK), sizeof(b));
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    CHECK_EQ(getrandom(b, 32, GRND_RANDOM), 32);
    CHECK_EQ(getrandom(b, 32, 4 /* GRND_INSECURE */), 32);
    CHECK_EQ(getrandom(b, 0, 0), 0);
    CHECK_ERRNO(getrandom(b, 32, 64), EINVAL);
    CHECK_ERRNO(getrandom(b, 32, GRND_RANDOM | 4), EINVAL);
    CHECK_EQ(RAW(SYS_getrandom, 8, 32, 0), -EFAULT);
    size_t size = 1 << 20;
    char *large = malloc(size);
    CHECK_EQ(getrandom(large, size, 0), size);
    free(large);
}

static void test_ids(void)
{
    uid_t r = 9, e = 9, s = 9;
    gid_t list[64];

    CHECK_EQ(RAW(SYS_getpid), RAW(SYS_gettid));
    CHECK(getpid() > 0);
    CHECK(getppid() >= 0);
    CHECK_EQ(getresuid(&r, &e, &s), 0);
    CHECK(r == getuid() && e == geteuid());
    CHECK_EQ(getresgid(&r, &e, &s), 0);
    CHECK(r == getgid() && e == getegid());
    CHECK_EQ(RAW(SYS_getresuid, 8, &e, &s), -EFAULT);
    CHECK(getgroups(0, NULL) >= 0);
    CHECK(getgroups(64, list) >= 0);
    CHECK(RAW(SYS_getpgid, 0) >= 0);
    CHECK_ERRNO(getpgid(0x7ffffff0), ESRCH);
    CHECK_ERRNO(getsid(0x7ffffff0), ESRCH);
    CHECK_ERRNO(getpgid(-1), ESRCH);
    CHECK_EQ(RAW(SYS_set_tid_address, &list), RAW(SYS_gettid));
}

static void test_limits(void)
{
    struct rlimit limit, back;
    struct rusage usage;

    for (int i = 0; i < RLIM_NLIMITS; i++) {
        CHECK_EQ(getrlimit((__rlimit_resource_t)i, &limit), 0);
        CHECK(limit.rlim_cur <= limit.rlim_max);
    }
    CHECK_EQ(RAW(SYS_getrlimit, RLIM_NLIMITS, &limit), -EINVAL);
    CHECK_EQ(RAW(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, 8), -EFAULT);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(limit.rlim_cur >= 64);
    limit.rlim_cur = 50;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(prlimit(0, RLIMIT_NOFILE, NULL, &back), 0);
    CHECK_EQ(back.rlim_cur, 50);
    CHECK_EQ(dup2(1, 49), 49);
    CHECK_ERRNO(dup2(1, 50), EBADF);
    CHECK_EQ(close(49), 0);
    limit.rlim_cur = limit.rlim_max + 1;
    if (limit.rlim_max != RLIM_INFINITY)
        CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    CHECK_EQ(getrlimit(RLIMIT_STACK, &limit), 0);
    note("stack limit %llu", (unsigned long long)limit.rlim_cur);
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    CHECK(usage.ru_utime.tv_usec >= 0 && usage.ru_utime.tv_usec < 1000000);
    CHECK_EQ(getrusage(RUSAGE_CHILDREN, &usage), 0);
    CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
    CHECK_ERRNO(getrusage((__rusage_who_t)77, &usage), EINVAL);
}

static void test_sched(void)
{
    struct sched_param param = {77};
    struct timespec interval;
    cpu_set_t set, one;
    unsigned cpu, node;

    CHECK_EQ(sched_yield(), 0);
    CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
    CHECK_EQ(sched_getparam(0, &param), 0);
    CHECK_EQ(param.sched_priority, 0);
    CHECK_EQ(sched_get_priority_min(SCHED_FIFO), 1);
    CHECK_EQ(sched_get_priority_max(SCHED_FIFO), 99);
    CHECK_EQ(sched_get_priority_max(SCHED_OTHER), 0);
    CHECK_ERRNO(sched_get_priority_max(77), EINVAL);
    CHECK_EQ(sched_rr_get_interval(0, &interval), 0);
    CHECK_ERRNO(sched_getscheduler(-1), EINVAL);
    CHECK_ERRNO(sched_getscheduler(0x7ffffff0), ESRCH);

    CPU_ZERO(&set);
    CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    CHECK(CPU_COUNT(&set) >= 1);
    CHECK_EQ(RAW(SYS_sched_getaffinity, 0, 7, &set), -EINVAL);
    /* Room for each processor is enough. */
    long room = (sysconf(_SC_NPROCESSORS_CONF) + 63) / 64 * 8;
    CHECK_EQ(RAW(SYS_sched_getaffinity, 0, room, &set), room);
    CHECK_EQ(RAW(SYS_sched_getaffinity, 0, 1024, 8), -EFAULT);
    CHECK(RAW(SYS_sched_getaffinity, 0, sizeof(set), &set) >= 8);
    for (cpu = 0; !CPU_ISSET(cpu, &set); cpu++)
        ;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    CPU_ZERO(&one);
    CHECK_EQ(sched_getaffinity(0, sizeof(one), &one), 0);
    CHECK_EQ(CPU_COUNT(&one), 1);
    CHECK(CPU_ISSET(cpu, &one));
    CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
    CPU_ZERO(&one);
    CHECK_ERRNO(sched_setaffinity(0, sizeof(one), &one), EINVAL);
    CHECK_EQ(RAW(SYS_getcpu, &cpu, &node, NULL), 0);
    CHECK_EQ(RAW(SYS_getpriority, PRIO_PROCESS, 0), 20 - getpriority(PRIO_PROCESS, 0));
}

static _Thread_local uint64_t thread_local_word = 0x1234;

static void test_segments(void)
{
    uint64_t fs = 0, gs = 99, value = 0x1122334455667788, got;

    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_GET_FS, &fs), 0);
    __asm__ volatile("mov %%fs:0, %0" : "=r"(got));
    CHECK_EQ(got, fs); /* the thread pointer points at itself (ELF TLS, variant II) */
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_GET_GS, &gs), 0);
    CHECK_EQ(gs, 0);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_SET_GS, &value), 0);
    __asm__ volatile("mov %%gs:0, %0" : "=r"(got));
    CHECK_EQ(got, value);
    CHECK_EQ(RAW(SYS_sched_yield), 0);
    __asm__ volatile("mov %%gs:0, %0" : "=r"(got));
    CHECK_EQ(got, value);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_GET_GS, &gs), 0);
    CHECK_EQ(gs, (uintptr_t)&value);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_SET_GS, 0), 0);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_SET_FS, fs), 0);
    CHECK_EQ(thread_local_word, 0x1234);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_SET_FS, 0xffff800000000000), -EPERM);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_SET_GS, 0x7ffffffff000), -EPERM);
    CHECK_EQ(RAW(SYS_arch_prctl, ARCH_GET_FS, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_arch_prctl, 0x9999, 0), -EINVAL);
}

static void test_prctl(void)
{
    char name[17] = "overwritten here";

    CHECK_EQ(prctl(PR_GET_NAME, name), 0);
    note("name \"%s\"", name);
    CHECK_EQ(prctl(PR_SET_NAME, "a name that is too long"), 0);
    CHECK_EQ(prctl(PR_GET_NAME, name), 0);
    note("name \"%s\"", name);
    CHECK_EQ(RAW(SYS_prctl, PR_SET_NAME, 8), -EFAULT);
    CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
    CHECK_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
    CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
    CHECK_ERRNO(prctl(PR_SET_DUMPABLE, 7), EINVAL);
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(12345, 0, 0, 0, 0), EINVAL);
}

static void test_system(void)
{
    struct sysinfo info;

    CHECK_EQ(sysinfo(&info), 0);
    CHECK(info.totalram > 0 && info.freeram <= info.totalram);
    CHECK(info.procs >= 1 && info.mem_unit >= 1 && info.uptime > 0);
    CHECK_EQ(RAW(SYS_sysinfo, 8), -EFAULT);
    CHECK_EQ(sysconf(_SC_PAGESIZE), 4096);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    long masks = RAW(SYS_membarrier, 0, 0, 0); /* MEMBARRIER_CMD_QUERY */
    CHECK(masks >= 0 || masks == -ENOSYS);
    umask(022);
    CHECK_EQ(umask(077), 022);
    CHECK_EQ(umask(022), 077);
}

static void test_rseq_and_robust(void)
{
    void *head = NULL;
    size_t size = 0;

    CHECK_EQ(RAW(SYS_get_robust_list, 0, &head, &size), 0);
    CHECK(head != NULL);
    CHECK_EQ(size, 24);
    CHECK_EQ(RAW(SYS_set_robust_list, head, 23), -EINVAL);
    CHECK_EQ(RAW(SYS_set_robust_list, head, 24), 0);
    /* glibc has registered rseq already, or found that there is none. */
    static char area[64] __attribute__((aligned(32)));
    long result = RAW(SYS_rseq, area, 32, 0, 0x53053053);
    CHECK(result == -EINVAL || result == -EBUSY || result == -EPERM || result == -ENOSYS);
}

int main(void)
{
    test_uname();
    test_random();
    test_ids();
    test_limits();
    test_sched();
    test_segments();
    test_prctl();
    test_system();
    test_rseq_and_robust();
    return check_done();
}

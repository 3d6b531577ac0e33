/*
 * Calls that reach for the machine, from a program without any capability: each is refused, and
 * for the reason that Linux names first. Never run these with capabilities outside a sandbox.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>

#include "check.h"

#define NR_UPROBE       336
#define NR_URETPROBE    335
#define NR_LSM_GET_SELF 459
#define NR_LSM_SET_SELF 460
#define NR_LSM_LIST     461
#define REBOOT_MAGIC    0xfee1dead
#define REBOOT_MAGIC2   672274793

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {0};

    if (!CHECK_EQ(syscall(SYS_capset, &header, data), 0))
        _exit(1);
}

/* Linux built without modules, without kexec or without port access says ENOSYS. */
static void check_refused(const char *name, long result)
{
    if (!CHECK(result == -EPERM || result == -ENOSYS))
        note("%s: %ld", name, result);
}

static void test_machine(void)
{
    CHECK_EQ(RAW(SYS_reboot, REBOOT_MAGIC, REBOOT_MAGIC2, 0x12345, 0), -EPERM);
    CHECK_EQ(RAW(SYS_reboot, 0, 0, 0, 0), -EPERM); /* the right comes before the magic */
    CHECK_EQ(RAW(SYS_vhangup), -EPERM);
    check_refused("init_module", RAW(SYS_init_module, 8, 16, 8));
    check_refused("finit_module", RAW(SYS_finit_module, -1, 0, ~0U));
    check_refused("delete_module", RAW(SYS_delete_module, 8, 0));
    CHECK_EQ(RAW(SYS_acct, 0), -EPERM);
    CHECK_EQ(RAW(SYS_acct, 8), -EPERM);
    CHECK_EQ(RAW(SYS_swapon, 8, 0x80000), -EINVAL);
    CHECK_EQ(RAW(SYS_swapon, 8, 0), -EPERM);
    CHECK_EQ(RAW(SYS_swapoff, 8), -EPERM);
    check_refused("kexec_load", RAW(SYS_kexec_load, 0, 0, 0, ~0UL));
    check_refused("kexec_file_load", RAW(SYS_kexec_file_load, -1, -1, 0, 0, ~0UL));
    check_refused("iopl", RAW(SYS_iopl, 3));
    check_refused("ioperm", RAW(SYS_ioperm, 0x80, 1, 1));
    if (RAW(SYS_iopl, 0) != -ENOSYS) {
        CHECK_EQ(RAW(SYS_iopl, 0), 0);
        CHECK_EQ(RAW(SYS_iopl, 4), -EINVAL);
        CHECK_EQ(RAW(SYS_ioperm, 0, 0, 0), -EINVAL);
        CHECK_EQ(RAW(SYS_ioperm, 65535, 2, 0), -EINVAL);
        CHECK_EQ(RAW(SYS_ioperm, -1L, 2, 1), -EINVAL);
        CHECK_EQ(RAW(SYS_ioperm, 0, 65536, 0), 0);
    }
}

static sigjmp_buf back;
static int code;

static void on_sigill(int signo, siginfo_t *info, void *context)
{
    code = info->si_code;
    siglongjmp(back, 1);
}

static void test_probes(void)
{
    struct sigaction action = {.sa_sigaction = on_sigill, .sa_flags = SA_SIGINFO};
    long result;

    CHECK_EQ(sigaction(SIGILL, &action, NULL), 0);
    result = RAW(NR_UPROBE);
    CHECK(result == -ENXIO || result == -ENOSYS);
    code = 0;
    if (sigsetjmp(back, 1) == 0) {
        result = RAW(NR_URETPROBE);
        CHECK_EQ(result, -ENOSYS); /* older kernels alone come back */
    } else {
        CHECK_EQ(code, SI_KERNEL);
    }
}

static void test_bpf(void)
{
    union {
        uint32_t words[64];
        uint64_t longs[32];
    } attr = {0};
    int file = open("/proc/self/status", O_RDONLY);

    CHECK(file >= 0);
    CHECK_EQ(RAW(SYS_bpf, 0, 8, 48), -EFAULT);
    CHECK_EQ(RAW(SYS_bpf, 0, &attr, 4097), -E2BIG);
    CHECK_EQ(RAW(SYS_bpf, 999, &attr, 64), -EINVAL);
    CHECK_EQ(RAW(SYS_bpf, -1, &attr, 64), -EINVAL);
    attr.words[63] = 1;
    CHECK_EQ(RAW(SYS_bpf, 0, &attr, sizeof(attr)), -E2BIG);
    attr.words[63] = 0;
    attr.words[0] = (uint32_t)file;
    for (int command = 1; command < 5; command++)
        CHECK_EQ(RAW(SYS_bpf, command, &attr, 64), -EINVAL);
    attr.words[0] = 9999;
    for (int command = 1; command < 5; command++)
        CHECK_EQ(RAW(SYS_bpf, command, &attr, 64), -EBADF);
    attr = (typeof(attr)){.words = {1 /* hash */, 4, 4, 1}};
    CHECK_EQ(RAW(SYS_bpf, 0, &attr, 64), -EPERM);
    attr = (typeof(attr)){0};
    CHECK_EQ(RAW(SYS_bpf, 5, &attr, 64), -EPERM);
    CHECK_EQ(RAW(SYS_bpf, 11, &attr, 64), -EPERM);
    attr.words[3] = 1;
    CHECK_EQ(RAW(SYS_bpf, 11, &attr, 64), -EINVAL);
    close(file);
}

static void test_perf(void)
{
    uint32_t attr[40] = {1 /* software */, 112};
    const uint32_t *size = &attr[1];

    CHECK_EQ(RAW(SYS_perf_event_open, attr, 0, -1, -1, 0x100), -EINVAL);
    CHECK_EQ(RAW(SYS_perf_event_open, 8, 0, -1, -1, 0), -EFAULT);
    /* Nothing is left out, so the kernel would be counted as well. */
    CHECK_EQ(RAW(SYS_perf_event_open, attr, 0, -1, -1, 0), -EACCES);
    attr[1] = 8;
    CHECK_EQ(RAW(SYS_perf_event_open, attr, 0, -1, -1, 0), -E2BIG);
    CHECK(*size >= 112);
    attr[1] = 160;
    attr[39] = 1;
    CHECK_EQ(RAW(SYS_perf_event_open, attr, 0, -1, -1, 0), -E2BIG);
    attr[1] = 112;
    attr[8] = 0x100; /* read_format */
    CHECK_EQ(RAW(SYS_perf_event_open, attr, 0, -1, -1, 0), -EINVAL);
}

static void test_clock(void)
{
    struct timex tx = {.modes = ADJ_FREQUENCY};
    struct timespec now;
    struct timeval day;

    CHECK_EQ(RAW(SYS_adjtimex, &tx), -EPERM);
    CHECK_EQ(RAW(SYS_clock_adjtime, CLOCK_REALTIME, &tx), -EPERM);
    tx.modes = 0x8000; /* ADJ_ADJTIME alone means nothing */
    CHECK_EQ(RAW(SYS_adjtimex, &tx), -EINVAL);
    tx.modes = 0;
    CHECK(RAW(SYS_adjtimex, &tx) >= 0);
    CHECK_EQ(tx.tick, 10000);
    CHECK_EQ(RAW(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_clock_adjtime, 99, &tx), -EINVAL);
    CHECK_EQ(clock_gettime(CLOCK_REALTIME, &now), 0);
    CHECK_EQ(RAW(SYS_clock_settime, CLOCK_REALTIME, &now), -EPERM);
    CHECK_EQ(gettimeofday(&day, NULL), 0);
    CHECK_EQ(RAW(SYS_settimeofday, &day, NULL), -EPERM);
}

static void test_modules(void)
{
    uint64_t ids[16] = {0};
    struct {
        uint64_t id, flags, len, ctx_len;
    } ctx = {.id = 100, .len = 32};
    uint32_t size = sizeof(ids);
    long count = RAW(NR_LSM_LIST, ids, &size, 0);
    bool found = false;

    if (count == -ENOSYS || count == -EOPNOTSUPP)
        return;
    CHECK(count > 0);
    CHECK_EQ(size, 8 * count);
    for (long i = 0; i < count; i++)
        found |= ids[i] == 100; /* capabilities */
    CHECK(found);
    CHECK_EQ(RAW(NR_LSM_LIST, ids, &size, 1), -EINVAL);
    CHECK_EQ(RAW(NR_LSM_LIST, ids, 0, 0), -EFAULT);
    size = 0;
    CHECK_EQ(RAW(NR_LSM_LIST, 0, &size, 0), -E2BIG);
    CHECK_EQ(size, 8 * count);
    CHECK_EQ(RAW(NR_LSM_LIST, 0, &size, 0), -EFAULT);
    CHECK_EQ(RAW(NR_LSM_GET_SELF, 0, ids, &size, 0), -EINVAL);
    CHECK_EQ(RAW(NR_LSM_GET_SELF, 100, ids, 0, 0), -EINVAL);
    CHECK_EQ(RAW(NR_LSM_GET_SELF, 100, &ctx, &size, 2), -EINVAL);
    CHECK_EQ(RAW(NR_LSM_GET_SELF, 100, &ctx, &size, 1), -EOPNOTSUPP);
    CHECK_EQ(RAW(NR_LSM_SET_SELF, 100, &ctx, sizeof(ctx), 1), -EINVAL);
    CHECK_EQ(RAW(NR_LSM_SET_SELF, 100, &ctx, 8, 0), -EINVAL);
    CHECK_EQ(RAW(NR_LSM_SET_SELF, 100, &ctx, 8192, 0), -E2BIG);
    CHECK_EQ(RAW(NR_LSM_SET_SELF, 100, 0, 32, 0), -EFAULT);
    CHECK_EQ(RAW(NR_LSM_SET_SELF, 100, &ctx, sizeof(ctx), 0), -EOPNOTSUPP);
    ctx.ctx_len = 1;
    CHECK_EQ(RAW(NR_LSM_SET_SELF, 100, &ctx, sizeof(ctx), 0), -EINVAL);
}

int main(void)
{
    drop_capabilities();
    test_machine();
    test_probes();
    test_bpf();
    test_perf();
    test_clock();
    test_modules();
    return check_done();
}

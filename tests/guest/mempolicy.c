/* NUMA policies on one node: set_mempolicy, get_mempolicy, mbind, move_pages, migrate_pages. */
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096UL
#define BITS 65UL /* so many that the first word is looked at */
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif

static long set_policy(int mode, unsigned long nodes)
{
    return RAW(SYS_set_mempolicy, mode, &nodes, BITS);
}

static long get_policy(unsigned long *ret_nodes)
{
    int mode = -1;
    long result = RAW(SYS_get_mempolicy, &mode, ret_nodes, BITS, 0, 0);

    return result < 0 ? result : mode;
}

static void test_task(void)
{
    unsigned long nodes = 0, mask = 1;
    int mode = -1, status = -1;

    CHECK_EQ(get_policy(&nodes), MPOL_DEFAULT);
    CHECK_EQ(nodes, 0);
    CHECK_EQ(set_policy(MPOL_BIND, 1), 0);
    CHECK_EQ(get_policy(&nodes), MPOL_BIND);
    CHECK_EQ(nodes, 1);
    if (fork() == 0)
        _exit(get_policy(&nodes) == MPOL_BIND ? 0 : 1);
    wait(&status);
    CHECK_EQ(status, 0);
    CHECK_EQ(set_policy(MPOL_INTERLEAVE, 1), 0);
    CHECK_EQ(get_policy(&nodes), MPOL_INTERLEAVE);
    CHECK_EQ(RAW(SYS_get_mempolicy, &mode, 0, 0, 0, MPOL_F_NODE), 0);
    CHECK_EQ(mode, 0);
    CHECK_EQ(set_policy(MPOL_PREFERRED, 0), 0);
    CHECK_EQ(get_policy(&nodes), MPOL_LOCAL);
    CHECK_EQ(nodes, 0);
    CHECK_EQ(set_policy(MPOL_PREFERRED | MPOL_F_STATIC_NODES, 1), 0);
    CHECK_EQ(get_policy(&nodes), MPOL_PREFERRED | MPOL_F_STATIC_NODES);
    CHECK_EQ(nodes, 1);

    CHECK_EQ(set_policy(77, 1), -EINVAL);
    CHECK_EQ(set_policy(MPOL_BIND, 0), -EINVAL);
    CHECK_EQ(set_policy(MPOL_BIND, 4), -EINVAL);
    CHECK_EQ(set_policy(MPOL_DEFAULT, 1), -EINVAL);
    CHECK_EQ(set_policy(MPOL_LOCAL, 1), -EINVAL);
    CHECK_EQ(set_policy(MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_set_mempolicy, MPOL_BIND, 8, BITS), -EFAULT);
    CHECK_EQ(RAW(SYS_set_mempolicy, MPOL_BIND, &mask, 1UL << 30), -EINVAL);
    CHECK_EQ(RAW(SYS_get_mempolicy, &mode, 0, 0, 0, 64), -EINVAL);
    CHECK_EQ(RAW(SYS_get_mempolicy, &mode, 0, 0, &mode, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_get_mempolicy, &mode, 0, 0, 0, MPOL_F_NODE), -EINVAL);
    CHECK_EQ(RAW(SYS_get_mempolicy, 8, 0, 0, 0, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_get_mempolicy, &mode, &nodes, 0, 0, 0), -EINVAL);
    nodes = 0;
    CHECK_EQ(RAW(SYS_get_mempolicy, 0, &nodes, BITS, 0, MPOL_F_MEMS_ALLOWED), 0);
    CHECK_EQ(nodes, 1);
    CHECK_EQ(RAW(SYS_set_mempolicy, MPOL_DEFAULT, 0, 0), 0);
}

static long policy_at(void *addr, int flags)
{
    int mode = -1;
    long result = RAW(SYS_get_mempolicy, &mode, 0, 0, addr, MPOL_F_ADDR | flags);

    return result < 0 ? result : mode;
}

static void test_ranges(void)
{
    char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned long one = 1;

    CHECK_EQ(policy_at(p, 0), MPOL_DEFAULT);
    CHECK_EQ(RAW(SYS_mbind, p + 2 * PAGE, 2 * PAGE, MPOL_BIND, &one, BITS, 0), 0);
    CHECK_EQ(policy_at(p + PAGE, 0), MPOL_DEFAULT);
    CHECK_EQ(policy_at(p + 2 * PAGE, 0), MPOL_BIND);
    CHECK_EQ(policy_at(p + 4 * PAGE - 1, 0), MPOL_BIND);
    CHECK_EQ(policy_at(p + 4 * PAGE, 0), MPOL_DEFAULT);
    CHECK_EQ(policy_at(p + 2 * PAGE, MPOL_F_NODE), 0);
    CHECK_EQ(
        RAW(SYS_mbind, p, 8 * PAGE, MPOL_INTERLEAVE, &one, BITS, MPOL_MF_STRICT | MPOL_MF_MOVE), 0);
    CHECK_EQ(policy_at(p, 0), MPOL_INTERLEAVE);
    CHECK_EQ(RAW(SYS_set_mempolicy_home_node, p, PAGE, 0, 0), -EOPNOTSUPP);
    CHECK_EQ(RAW(SYS_mbind, p, PAGE, MPOL_BIND, &one, BITS, 0), 0);
    CHECK_EQ(RAW(SYS_set_mempolicy_home_node, p, PAGE, 0, 0), 0);
    CHECK_EQ(RAW(SYS_set_mempolicy_home_node, p, PAGE, 0, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_set_mempolicy_home_node, p, PAGE, 5000, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_set_mempolicy_home_node, p + 1, PAGE, 0, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_set_mempolicy_home_node, p, 0, 0, 0), 0);

    CHECK_EQ(RAW(SYS_mbind, p + 1, PAGE, MPOL_BIND, &one, BITS, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_mbind, p, PAGE, MPOL_BIND, &one, BITS, 64), -EINVAL);
    CHECK_EQ(RAW(SYS_mbind, p, PAGE, 99, &one, BITS, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_mbind, p, PAGE, MPOL_BIND, 8, BITS, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_mbind, p, 0, MPOL_BIND, &one, BITS, 0), 0);
    CHECK_EQ(RAW(SYS_mbind, p, -1L, MPOL_BIND, &one, BITS, 0), 0);
    CHECK_EQ(munmap(p + 4 * PAGE, PAGE), 0);
    CHECK_EQ(RAW(SYS_mbind, p, 8 * PAGE, MPOL_BIND, &one, BITS, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_mbind, p, 8 * PAGE, MPOL_DEFAULT, 0, 0, 0), 0);
    CHECK_EQ(policy_at(p, 0), MPOL_DEFAULT);
    CHECK_EQ(policy_at(p + 4 * PAGE, 0), -EFAULT);
    CHECK_EQ(munmap(p, 8 * PAGE), 0);
}

static void test_pages(void)
{
    char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *pages[3] = {p, p + 40 * PAGE, NULL};
    int nodes[3] = {0, 0, 0}, status[3] = {7, 7, 7};
    unsigned long one = 1;

    p[0] = 1;
    madvise(p + 40 * PAGE, PAGE, MADV_DONTNEED);
    CHECK_EQ(RAW(SYS_move_pages, 0, 3, pages, 0, status, 0), 0);
    CHECK_EQ(status[0], 0);
    CHECK(status[1] == -ENOENT || status[1] == 0);
    CHECK_EQ(status[2], -EFAULT);
    status[0] = 7;
    CHECK_EQ(RAW(SYS_move_pages, getpid(), 1, pages, nodes, status, MPOL_MF_MOVE), 0);
    CHECK_EQ(status[0], 0);
    nodes[0] = 5000;
    CHECK_EQ(RAW(SYS_move_pages, 0, 1, pages, nodes, status, MPOL_MF_MOVE), -ENODEV);
    CHECK_EQ(RAW(SYS_move_pages, 0, 1, pages, nodes, status, 1), -EINVAL);
    CHECK_EQ(RAW(SYS_move_pages, 0, 1, 8, 0, status, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_move_pages, 0x7fffffff, 1, pages, 0, status, 0), -ESRCH);

    CHECK_EQ(RAW(SYS_migrate_pages, 0, BITS, &one, &one), 0);
    CHECK_EQ(RAW(SYS_migrate_pages, 0x7fffffff, BITS, &one, &one), -ESRCH);
    CHECK_EQ(RAW(SYS_migrate_pages, 0, BITS, 8, &one), -EFAULT);
    CHECK_EQ(munmap(p, 64 * PAGE), 0);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
    alarms++;
}

/* A signal that has a handler does not end the call. */
static void test_signals(void)
{
    enum { COUNT = 2000 };
    static void *pages[COUNT];
    static int status[COUNT];
    const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};

    for (int i = 0; i < COUNT; i++)
        pages[i] = status;
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    while (alarms < 20 && CHECK_EQ(RAW(SYS_move_pages, 0, COUNT, pages, 0, status, 0), 0))
        continue;
    setitimer(ITIMER_REAL, &never, NULL);
}

int main(void)
{
    if (RAW(SYS_get_mempolicy, 0, 0, 0, 0, 0) == -ENOSYS)
        check_skip("a kernel without NUMA");
    test_task();
    test_ranges();
    test_pages();
    test_signals();
    return check_done();
}

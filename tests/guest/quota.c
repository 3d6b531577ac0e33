/* quotactl(2) and quotactl_fd(2) where nothing has quotas; ustat(2). */
#include <fcntl.h>
#include <linux/quota.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "check.h"

#define NR_QUOTACTL_FD 443

static int command(int cmd, int type)
{
    return (int)((unsigned)cmd << SUBCMDSHIFT | (unsigned)type);
}

static void test_quotactl(void)
{
    CHECK_EQ(RAW(SYS_quotactl, command(Q_SYNC, 3), 0, 0, 0), -EINVAL);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_SYNC, USRQUOTA), 0, 0, 0), 0);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_SYNC, GRPQUOTA), 0, 0, 0), 0);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_GETQUOTA, USRQUOTA), 0, 0, 0), -ENODEV);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_GETQUOTA, USRQUOTA), 8, 0, 0), -EFAULT);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_GETQUOTA, USRQUOTA), "/no/such", 0, 0), -ENOENT);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_GETQUOTA, USRQUOTA), "/", 0, 0), -ENOTBLK);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_GETQUOTA, USRQUOTA), "/dev/null", 0, 0), -ENOTBLK);
    CHECK_EQ(RAW(SYS_quotactl, command(Q_GETQUOTA, USRQUOTA), "/dev/null/x", 0, 0), -ENOTDIR);
}

static void test_by_descriptor(void)
{
    int fd = open("/proc/self/status", O_RDONLY), pipes[2];

    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(RAW(NR_QUOTACTL_FD, -1, command(Q_GETINFO, USRQUOTA), 0, 0), -EBADF);
    CHECK_EQ(RAW(NR_QUOTACTL_FD, fd, command(Q_GETINFO, 3), 0, 0), -EINVAL);
    CHECK_EQ(RAW(NR_QUOTACTL_FD, fd, command(Q_GETINFO, USRQUOTA), 0, 0), -ENOSYS);
    CHECK_EQ(RAW(NR_QUOTACTL_FD, fd, command(Q_SETINFO, USRQUOTA), 0, 0), -ENOSYS);
    CHECK_EQ(RAW(NR_QUOTACTL_FD, pipes[0], command(Q_GETQUOTA, GRPQUOTA), 0, 0), -ENOSYS);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

struct ustat_result {
    int32_t blocks;
    uint64_t inodes;
    char names[12];
};

static void test_ustat(void)
{
    struct ustat_result out;
    struct statfs fs;
    struct stat st;
    uint32_t dev;

    memset(&out, 7, sizeof(out));
    CHECK_EQ(stat("/proc", &st), 0);
    CHECK_EQ(statfs("/proc", &fs), 0);
    dev = minor(st.st_dev) | major(st.st_dev) << 8;
    CHECK_EQ(RAW(SYS_ustat, dev, &out), 0);
    CHECK_EQ(out.blocks, (int32_t)fs.f_bfree);
    CHECK_EQ(out.inodes, fs.f_ffree);
    CHECK_EQ(out.names[0] | out.names[11], 0);
    CHECK_EQ(RAW(SYS_ustat, dev, 8), -EFAULT);
    CHECK_EQ(RAW(SYS_ustat, 0xfff, &out), -EINVAL);
}

int main(void)
{
    test_quotactl();
    test_by_descriptor();
    test_ustat();
    return check_done();
}

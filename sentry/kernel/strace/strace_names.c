/*
 * Names of flags and enumerations. Values come from the C library's and the kernel's headers; the
 * few that Debian 12's headers lack stand here as numbers.
 */
#include "sentry/kernel/strace/strace_names.h"

#include <asm/ioctls.h>
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* clang-format off */
#define FLAG(x)        {(uint32_t)(x), (uint32_t)(x), #x}
#define FIELD(mask, x) {(uint32_t)(mask), (uint32_t)(x), #x}
#define VALUE(x)       {UINT32_MAX, (uint32_t)(x), #x}

static const struct value_name open_flags[] = {
    FIELD(O_ACCMODE, O_RDONLY), FIELD(O_ACCMODE, O_WRONLY), FIELD(O_ACCMODE, O_RDWR),
    FLAG(O_CREAT), FLAG(O_EXCL), FLAG(O_NOCTTY), FLAG(O_TRUNC), FLAG(O_APPEND), FLAG(O_NONBLOCK),
    FLAG(O_SYNC), FLAG(O_DSYNC), FLAG(O_ASYNC), FLAG(O_DIRECT), {0100000, 0100000, "O_LARGEFILE"},
    FLAG(O_TMPFILE), FLAG(O_DIRECTORY), FLAG(O_NOFOLLOW), FLAG(O_NOATIME), FLAG(O_CLOEXEC),
    FLAG(O_PATH),
};
static const struct value_name lseek_whence[] = {
    VALUE(SEEK_SET), VALUE(SEEK_CUR), VALUE(SEEK_END), VALUE(SEEK_DATA), VALUE(SEEK_HOLE),
};
static const struct value_name mmap_prot[] = {
    VALUE(PROT_NONE), FLAG(PROT_READ), FLAG(PROT_WRITE), FLAG(PROT_EXEC), FLAG(PROT_GROWSDOWN),
    FLAG(PROT_GROWSUP),
};
static const struct value_name mmap_flags[] = {
    FIELD(MAP_TYPE, MAP_SHARED), FIELD(MAP_TYPE, MAP_PRIVATE), FIELD(MAP_TYPE, MAP_SHARED_VALIDATE),
    FLAG(MAP_FIXED), FLAG(MAP_ANONYMOUS), FLAG(MAP_32BIT), FLAG(MAP_FIXED_NOREPLACE),
    FLAG(MAP_GROWSDOWN), FLAG(MAP_DENYWRITE), FLAG(MAP_EXECUTABLE), FLAG(MAP_LOCKED),
    FLAG(MAP_NORESERVE), FLAG(MAP_POPULATE), FLAG(MAP_NONBLOCK), FLAG(MAP_STACK),
    FLAG(MAP_HUGETLB), FLAG(MAP_SYNC),
};
static const struct value_name mremap_flags[] = {
    FLAG(MREMAP_MAYMOVE), FLAG(MREMAP_FIXED), FLAG(MREMAP_DONTUNMAP),
};
static const struct value_name msync_flags[] = {
    FLAG(MS_ASYNC), FLAG(MS_INVALIDATE), FLAG(MS_SYNC),
};
static const struct value_name madvise_advice[] = {
    VALUE(MADV_NORMAL), VALUE(MADV_RANDOM), VALUE(MADV_SEQUENTIAL), VALUE(MADV_WILLNEED),
    VALUE(MADV_DONTNEED), VALUE(MADV_FREE), VALUE(MADV_REMOVE), VALUE(MADV_DONTFORK),
    VALUE(MADV_DOFORK), VALUE(MADV_MERGEABLE), VALUE(MADV_UNMERGEABLE), VALUE(MADV_HUGEPAGE),
    VALUE(MADV_NOHUGEPAGE), VALUE(MADV_DONTDUMP), VALUE(MADV_DODUMP), VALUE(MADV_WIPEONFORK),
    VALUE(MADV_KEEPONFORK), VALUE(MADV_COLD), VALUE(MADV_PAGEOUT), VALUE(MADV_POPULATE_READ),
    VALUE(MADV_POPULATE_WRITE), {UINT32_MAX, 24, "MADV_DONTNEED_LOCKED"},
    {UINT32_MAX, 25, "MADV_COLLAPSE"}, {UINT32_MAX, 102, "MADV_GUARD_INSTALL"},
    {UINT32_MAX, 103, "MADV_GUARD_REMOVE"},
};
static const struct value_name sigmask_how[] = {
    VALUE(SIG_BLOCK), VALUE(SIG_UNBLOCK), VALUE(SIG_SETMASK),
};
static const struct value_name ioctl_request[] = {
    VALUE(TCGETS), VALUE(TCSETS), VALUE(TCSETSW), VALUE(TCSETSF), VALUE(TIOCGWINSZ),
    VALUE(TIOCSWINSZ), VALUE(TIOCGPGRP), VALUE(TIOCSPGRP), VALUE(TIOCSCTTY), VALUE(TIOCNOTTY),
    VALUE(TIOCGSID), VALUE(FIONREAD), VALUE(FIONBIO), VALUE(FIOASYNC), VALUE(FIOCLEX),
    VALUE(FIONCLEX), VALUE(TIOCGPTN), VALUE(TIOCSPTLCK),
};
static const struct value_name access_mode[] = {
    VALUE(F_OK), FLAG(R_OK), FLAG(W_OK), FLAG(X_OK),
};
static const struct value_name itimer_which[] = {
    VALUE(ITIMER_REAL), VALUE(ITIMER_VIRTUAL), VALUE(ITIMER_PROF),
};
static const struct value_name sock_domain[] = {
    VALUE(AF_UNSPEC), VALUE(AF_UNIX), VALUE(AF_INET), VALUE(AF_INET6), VALUE(AF_NETLINK),
    VALUE(AF_PACKET), VALUE(AF_VSOCK),
};
static const struct value_name sock_type[] = {
    FIELD(0xf, SOCK_STREAM), FIELD(0xf, SOCK_DGRAM), FIELD(0xf, SOCK_RAW), FIELD(0xf, SOCK_RDM),
    FIELD(0xf, SOCK_SEQPACKET), FLAG(SOCK_CLOEXEC), FLAG(SOCK_NONBLOCK),
};
static const struct value_name sock_flags[] = {FLAG(SOCK_CLOEXEC), FLAG(SOCK_NONBLOCK)};
static const struct value_name msg_flags[] = {
    FLAG(MSG_OOB), FLAG(MSG_PEEK), FLAG(MSG_DONTROUTE), FLAG(MSG_CTRUNC), FLAG(MSG_TRUNC),
    FLAG(MSG_DONTWAIT), FLAG(MSG_EOR), FLAG(MSG_WAITALL), FLAG(MSG_CONFIRM), FLAG(MSG_ERRQUEUE),
    FLAG(MSG_NOSIGNAL), FLAG(MSG_MORE), FLAG(MSG_WAITFORONE), FLAG(MSG_CMSG_CLOEXEC),
};
static const struct value_name shutdown_how[] = {
    VALUE(SHUT_RD), VALUE(SHUT_WR), VALUE(SHUT_RDWR),
};
static const struct value_name clone_flags[] = {
    FLAG(CLONE_VM), FLAG(CLONE_FS), FLAG(CLONE_FILES), FLAG(CLONE_SIGHAND), FLAG(CLONE_PIDFD),
    FLAG(CLONE_PTRACE), FLAG(CLONE_VFORK), FLAG(CLONE_PARENT), FLAG(CLONE_THREAD),
    FLAG(CLONE_NEWNS), FLAG(CLONE_SYSVSEM), FLAG(CLONE_SETTLS), FLAG(CLONE_PARENT_SETTID),
    FLAG(CLONE_CHILD_CLEARTID), FLAG(CLONE_DETACHED), FLAG(CLONE_UNTRACED),
    FLAG(CLONE_CHILD_SETTID), FLAG(CLONE_NEWCGROUP), FLAG(CLONE_NEWUTS), FLAG(CLONE_NEWIPC),
    FLAG(CLONE_NEWUSER), FLAG(CLONE_NEWPID), FLAG(CLONE_NEWNET), FLAG(CLONE_IO),
    FIELD(0xff, SIGCHLD),
};
static const struct value_name unshare_flags[] = {
    FLAG(CLONE_FS), FLAG(CLONE_FILES), FLAG(CLONE_NEWNS), FLAG(CLONE_SYSVSEM), FLAG(CLONE_THREAD),
    FLAG(CLONE_NEWCGROUP), FLAG(CLONE_NEWUTS), FLAG(CLONE_NEWIPC), FLAG(CLONE_NEWUSER),
    FLAG(CLONE_NEWPID), FLAG(CLONE_NEWNET), {0x80, 0x80, "CLONE_NEWTIME"},
};
static const struct value_name wait_options[] = {
    FLAG(WNOHANG), FLAG(WUNTRACED), FLAG(WEXITED), FLAG(WCONTINUED), FLAG(WNOWAIT),
    {0x20000000, 0x20000000, "__WNOTHREAD"}, {0x40000000, 0x40000000, "__WALL"},
    {0x80000000, 0x80000000, "__WCLONE"},
};
static const struct value_name fcntl_cmd[] = {
    VALUE(F_DUPFD), VALUE(F_GETFD), VALUE(F_SETFD), VALUE(F_GETFL), VALUE(F_SETFL), VALUE(F_GETLK),
    VALUE(F_SETLK), VALUE(F_SETLKW), VALUE(F_SETOWN), VALUE(F_GETOWN), VALUE(F_SETSIG),
    VALUE(F_GETSIG), VALUE(F_SETOWN_EX), VALUE(F_GETOWN_EX), VALUE(F_OFD_GETLK),
    VALUE(F_OFD_SETLK), VALUE(F_OFD_SETLKW), VALUE(F_SETLEASE), VALUE(F_GETLEASE), VALUE(F_NOTIFY),
    VALUE(F_DUPFD_CLOEXEC), VALUE(F_SETPIPE_SZ), VALUE(F_GETPIPE_SZ), VALUE(F_ADD_SEALS),
    VALUE(F_GET_SEALS),
};
static const struct value_name flock_op[] = {
    FLAG(LOCK_SH), FLAG(LOCK_EX), FLAG(LOCK_NB), FLAG(LOCK_UN),
};
static const struct value_name rlimit_resource[] = {
    VALUE(RLIMIT_CPU), VALUE(RLIMIT_FSIZE), VALUE(RLIMIT_DATA), VALUE(RLIMIT_STACK),
    VALUE(RLIMIT_CORE), VALUE(RLIMIT_RSS), VALUE(RLIMIT_NPROC), VALUE(RLIMIT_NOFILE),
    VALUE(RLIMIT_MEMLOCK), VALUE(RLIMIT_AS), VALUE(RLIMIT_LOCKS), VALUE(RLIMIT_SIGPENDING),
    VALUE(RLIMIT_MSGQUEUE), VALUE(RLIMIT_NICE), VALUE(RLIMIT_RTPRIO), VALUE(RLIMIT_RTTIME),
};
static const struct value_name rusage_who[] = {
    VALUE(RUSAGE_SELF), VALUE(RUSAGE_CHILDREN), VALUE(RUSAGE_THREAD),
};
static const struct value_name sched_policy[] = {
    FIELD(0xffff, SCHED_OTHER), FIELD(0xffff, SCHED_FIFO), FIELD(0xffff, SCHED_RR),
    FIELD(0xffff, SCHED_BATCH), FIELD(0xffff, SCHED_IDLE), FIELD(0xffff, SCHED_DEADLINE),
    FLAG(SCHED_RESET_ON_FORK),
};
static const struct value_name prctl_option[] = {
    VALUE(PR_SET_PDEATHSIG), VALUE(PR_GET_PDEATHSIG), VALUE(PR_GET_DUMPABLE),
    VALUE(PR_SET_DUMPABLE), VALUE(PR_GET_KEEPCAPS), VALUE(PR_SET_KEEPCAPS), VALUE(PR_SET_NAME),
    VALUE(PR_GET_NAME), VALUE(PR_GET_SECCOMP), VALUE(PR_SET_SECCOMP), VALUE(PR_CAPBSET_READ),
    VALUE(PR_CAPBSET_DROP), VALUE(PR_SET_TIMERSLACK), VALUE(PR_GET_TIMERSLACK), VALUE(PR_SET_MM),
    VALUE(PR_SET_CHILD_SUBREAPER), VALUE(PR_GET_CHILD_SUBREAPER), VALUE(PR_SET_NO_NEW_PRIVS),
    VALUE(PR_GET_NO_NEW_PRIVS), VALUE(PR_GET_TID_ADDRESS), VALUE(PR_SET_THP_DISABLE),
    VALUE(PR_GET_THP_DISABLE), VALUE(PR_CAP_AMBIENT), VALUE(PR_SET_VMA),
};
static const struct value_name arch_prctl_code[] = {
    VALUE(ARCH_SET_GS), VALUE(ARCH_SET_FS), VALUE(ARCH_GET_FS), VALUE(ARCH_GET_GS),
    VALUE(ARCH_GET_CPUID), VALUE(ARCH_SET_CPUID), VALUE(ARCH_GET_XCOMP_SUPP),
    VALUE(ARCH_GET_XCOMP_PERM), VALUE(ARCH_REQ_XCOMP_PERM),
    {UINT32_MAX, 0x3001, "ARCH_CET_STATUS"}, {UINT32_MAX, 0x5005, "ARCH_SHSTK_STATUS"},
};
static const struct value_name futex_op[] = {
    FIELD(0x7f, FUTEX_WAIT), FIELD(0x7f, FUTEX_WAKE), FIELD(0x7f, FUTEX_FD),
    FIELD(0x7f, FUTEX_REQUEUE), FIELD(0x7f, FUTEX_CMP_REQUEUE), FIELD(0x7f, FUTEX_WAKE_OP),
    FIELD(0x7f, FUTEX_LOCK_PI), FIELD(0x7f, FUTEX_UNLOCK_PI), FIELD(0x7f, FUTEX_TRYLOCK_PI),
    FIELD(0x7f, FUTEX_WAIT_BITSET), FIELD(0x7f, FUTEX_WAKE_BITSET),
    FIELD(0x7f, FUTEX_WAIT_REQUEUE_PI), FIELD(0x7f, FUTEX_CMP_REQUEUE_PI),
    FIELD(0x7f, FUTEX_LOCK_PI2), FLAG(FUTEX_PRIVATE_FLAG), FLAG(FUTEX_CLOCK_REALTIME),
};
static const struct value_name futex2_flags[] = {
    {3, 0, "FUTEX2_SIZE_U8"}, {3, 1, "FUTEX2_SIZE_U16"}, {3, 2, "FUTEX2_SIZE_U32"},
    {3, 3, "FUTEX2_SIZE_U64"}, {4, 4, "FUTEX2_NUMA"}, {0x80, 0x80, "FUTEX2_PRIVATE"},
};
static const struct value_name fadvise_advice[] = {
    VALUE(POSIX_FADV_NORMAL), VALUE(POSIX_FADV_RANDOM), VALUE(POSIX_FADV_SEQUENTIAL),
    VALUE(POSIX_FADV_WILLNEED), VALUE(POSIX_FADV_DONTNEED), VALUE(POSIX_FADV_NOREUSE),
};
static const struct value_name timer_flags[] = {
    FLAG(TIMER_ABSTIME), FLAG(TFD_TIMER_CANCEL_ON_SET),
};
static const struct value_name timerfd_flags[] = {FLAG(TFD_CLOEXEC), FLAG(TFD_NONBLOCK)};
static const struct value_name epoll_op[] = {
    VALUE(EPOLL_CTL_ADD), VALUE(EPOLL_CTL_DEL), VALUE(EPOLL_CTL_MOD),
};
static const struct value_name epoll_events[] = {
    FLAG(EPOLLIN), FLAG(EPOLLPRI), FLAG(EPOLLOUT), FLAG(EPOLLERR), FLAG(EPOLLHUP),
    FLAG(EPOLLRDNORM), FLAG(EPOLLRDBAND), FLAG(EPOLLWRNORM), FLAG(EPOLLWRBAND), FLAG(EPOLLMSG),
    FLAG(EPOLLRDHUP), FLAG(EPOLLEXCLUSIVE), FLAG(EPOLLWAKEUP), FLAG(EPOLLONESHOT), FLAG(EPOLLET),
};
static const struct value_name poll_events[] = {
    {1, 1, "POLLIN"}, {2, 2, "POLLPRI"}, {4, 4, "POLLOUT"}, {8, 8, "POLLERR"},
    {0x10, 0x10, "POLLHUP"}, {0x20, 0x20, "POLLNVAL"}, {0x40, 0x40, "POLLRDNORM"},
    {0x80, 0x80, "POLLRDBAND"}, {0x100, 0x100, "POLLWRNORM"}, {0x200, 0x200, "POLLWRBAND"},
    {0x400, 0x400, "POLLMSG"}, {0x2000, 0x2000, "POLLRDHUP"},
};
static const struct value_name at_flags[] = {
    FLAG(AT_SYMLINK_NOFOLLOW), FLAG(AT_REMOVEDIR), FLAG(AT_SYMLINK_FOLLOW), FLAG(AT_NO_AUTOMOUNT),
    FLAG(AT_EMPTY_PATH), FLAG(AT_RECURSIVE), FIELD(AT_STATX_SYNC_TYPE, AT_STATX_FORCE_SYNC),
    FIELD(AT_STATX_SYNC_TYPE, AT_STATX_DONT_SYNC),
};
static const struct value_name unlinkat_flags[] = {FLAG(AT_REMOVEDIR)};
static const struct value_name splice_flags[] = {
    FLAG(SPLICE_F_MOVE), FLAG(SPLICE_F_NONBLOCK), FLAG(SPLICE_F_MORE), FLAG(SPLICE_F_GIFT),
};
static const struct value_name fd_flags[] = {FLAG(O_CLOEXEC), FLAG(O_NONBLOCK)};
static const struct value_name pipe_flags[] = {FLAG(O_CLOEXEC), FLAG(O_NONBLOCK), FLAG(O_DIRECT)};
static const struct value_name eventfd_flags[] = {
    FLAG(EFD_CLOEXEC), FLAG(EFD_NONBLOCK), FLAG(EFD_SEMAPHORE),
};
static const struct value_name rename_flags[] = {
    FLAG(RENAME_NOREPLACE), FLAG(RENAME_EXCHANGE), FLAG(RENAME_WHITEOUT),
};
static const struct value_name getrandom_flags[] = {
    FLAG(GRND_NONBLOCK), FLAG(GRND_RANDOM), FLAG(GRND_INSECURE),
};
static const struct value_name memfd_flags[] = {
    FLAG(MFD_CLOEXEC), FLAG(MFD_ALLOW_SEALING), FLAG(MFD_HUGETLB), {8, 8, "MFD_NOEXEC_SEAL"},
    {16, 16, "MFD_EXEC"},
};
static const struct value_name membarrier_cmd[] = {
    VALUE(MEMBARRIER_CMD_QUERY), VALUE(MEMBARRIER_CMD_GLOBAL),
    VALUE(MEMBARRIER_CMD_GLOBAL_EXPEDITED), VALUE(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED),
    VALUE(MEMBARRIER_CMD_PRIVATE_EXPEDITED), VALUE(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED),
    VALUE(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE),
    VALUE(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE),
    VALUE(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ),
    VALUE(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ),
};
static const struct value_name rwf_flags[] = {
    FLAG(RWF_HIPRI), FLAG(RWF_DSYNC), FLAG(RWF_SYNC), FLAG(RWF_NOWAIT), FLAG(RWF_APPEND),
};
static const struct value_name statx_mask[] = {
    FLAG(STATX_ALL), FLAG(STATX_BASIC_STATS), FLAG(STATX_TYPE), FLAG(STATX_MODE),
    FLAG(STATX_NLINK), FLAG(STATX_UID), FLAG(STATX_GID), FLAG(STATX_ATIME), FLAG(STATX_MTIME),
    FLAG(STATX_CTIME), FLAG(STATX_INO), FLAG(STATX_SIZE), FLAG(STATX_BLOCKS), FLAG(STATX_BTIME),
    FLAG(STATX_MNT_ID), {0x2000, 0x2000, "STATX_DIOALIGN"}, {0x4000, 0x4000, "STATX_MNT_ID_UNIQUE"},
};
static const struct value_name close_range_flags[] = {
    FLAG(CLOSE_RANGE_UNSHARE), FLAG(CLOSE_RANGE_CLOEXEC),
};
static const struct value_name clockid[] = {
    VALUE(CLOCK_REALTIME), VALUE(CLOCK_MONOTONIC), VALUE(CLOCK_PROCESS_CPUTIME_ID),
    VALUE(CLOCK_THREAD_CPUTIME_ID), VALUE(CLOCK_MONOTONIC_RAW), VALUE(CLOCK_REALTIME_COARSE),
    VALUE(CLOCK_MONOTONIC_COARSE), VALUE(CLOCK_BOOTTIME), VALUE(CLOCK_REALTIME_ALARM),
    VALUE(CLOCK_BOOTTIME_ALARM), VALUE(CLOCK_TAI),
};
static const struct value_name sigaction_flags[] = {
    FLAG(SA_NOCLDSTOP), FLAG(SA_NOCLDWAIT), FLAG(SA_SIGINFO), {0x04000000, 0x04000000, "SA_RESTORER"},
    FLAG(SA_ONSTACK), FLAG(SA_RESTART), FLAG(SA_NODEFER), {0x80000000, 0x80000000, "SA_RESETHAND"},
};
static const struct value_name sigstack_flags[] = {
    FLAG(SS_ONSTACK), FLAG(SS_DISABLE), {0x80000000, 0x80000000, "SS_AUTODISARM"},
};
static const struct value_name file_type[] = {
    FIELD(S_IFMT, S_IFREG), FIELD(S_IFMT, S_IFDIR), FIELD(S_IFMT, S_IFLNK), FIELD(S_IFMT, S_IFCHR),
    FIELD(S_IFMT, S_IFBLK), FIELD(S_IFMT, S_IFIFO), FIELD(S_IFMT, S_IFSOCK),
};

#define SET(x) {#x, x, ARRAY_COUNT(x)}
static const struct name_set sets[] = {
    SET(open_flags), SET(lseek_whence), SET(mmap_prot), SET(mmap_flags), SET(mremap_flags),
    SET(msync_flags), SET(madvise_advice), SET(sigmask_how), SET(ioctl_request), SET(access_mode),
    SET(itimer_which), SET(sock_domain), SET(sock_type), SET(sock_flags), SET(msg_flags),
    SET(shutdown_how), SET(clone_flags), SET(unshare_flags), SET(wait_options), SET(fcntl_cmd),
    SET(flock_op), SET(rlimit_resource), SET(rusage_who), SET(sched_policy), SET(prctl_option),
    SET(arch_prctl_code), SET(futex_op), SET(futex2_flags), SET(fadvise_advice), SET(timer_flags),
    SET(timerfd_flags), SET(epoll_op), SET(epoll_events), SET(poll_events), SET(at_flags),
    SET(unlinkat_flags), SET(splice_flags), SET(fd_flags), SET(pipe_flags), SET(eventfd_flags),
    SET(rename_flags), SET(getrandom_flags), SET(memfd_flags), SET(membarrier_cmd), SET(rwf_flags),
    SET(statx_mask), SET(close_range_flags), SET(clockid), SET(sigaction_flags),
    SET(sigstack_flags), SET(file_type),
};
/* clang-format on */

const struct name_set *name_set_find(struct span word)
{
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
        if (span_is(word, sets[i].word))
            return &sets[i];
    }
    return NULL;
}

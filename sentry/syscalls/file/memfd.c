/* memfd_create(2), memfd_secret(2). */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "sentry/fs/tmpfs/memfd.h"
#include "sentry/fs/tmpfs/secretmem.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"

/* Newer than Debian 12's headers. */
#define LINUX_MFD_NOEXEC_SEAL 0x8U
#define LINUX_MFD_EXEC        0x10U

#define NAME_LONGEST          249 /* with "memfd:" in front, NAME_MAX */

/* Of 2 MiB, unless told, or 1 GiB. */
static int create_huge(const char *name, unsigned flags, struct file **ret)
{
    unsigned log = flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

    if (log != 0 && log != 21 && log != 30)
        return -ENODEV;
    return hugemem_create(name, 1UL << (log ? log : 21),
                          flags & (MFD_ALLOW_SEALING | LINUX_MFD_NOEXEC_SEAL),
                          !(flags & LINUX_MFD_NOEXEC_SEAL), ret);
}

SYSCALL_DEFINE2(memfd_create, uaddr_t, name_ptr, unsigned, flags)
{
    const unsigned plain = MFD_CLOEXEC | MFD_ALLOW_SEALING | LINUX_MFD_NOEXEC_SEAL | LINUX_MFD_EXEC;
    const unsigned huge = MFD_HUGETLB | (unsigned)MAP_HUGE_MASK << MAP_HUGE_SHIFT;
    char name[NAME_LONGEST + 1];
    struct file *file;
    ssize_t n;
    int err;

    if (flags & ~(plain | (flags & MFD_HUGETLB ? huge : 0)))
        return -EINVAL;
    if ((flags & LINUX_MFD_EXEC) && (flags & LINUX_MFD_NOEXEC_SEAL))
        return -EINVAL;
    n = strncpy_from_user(task->mm, name, name_ptr, sizeof(name));
    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    err = flags & MFD_HUGETLB ? create_huge(name, flags, &file)
                              : memfd_create_file(name, flags, &file);
    return err < 0 ? err : task_install(task, file, 0, flags & MFD_CLOEXEC);
}

SYSCALL_DEFINE1(memfd_secret, unsigned, flags)
{
    struct file *file;
    int err;

    if (flags & ~(unsigned)O_CLOEXEC)
        return -EINVAL;
    err = secretmem_create(&file);
    return err < 0 ? err : task_install(task, file, 0, flags & O_CLOEXEC);
}

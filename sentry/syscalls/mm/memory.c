/* Memory: mmap(2) and its family, thin over sentry/mm. mmap's file part asks the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>

#include "sentry/kernel/kernel.h"
#include "sentry/mm/mappable.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount/mount.h"

#define MINCORE_CHUNK 4096UL

static bool is_shared(const struct mm_map_args *args)
{
    return (args->flags & MAP_TYPE) != MAP_PRIVATE;
}

/* The object behind a descriptor, and what a shared mapping of it may become. */
static int map_file(struct task *task, int fd, struct mm_map_args *args, struct file **ret_file)
{
    struct file *file = fdtable_get(task->files, fd);
    int type = args->flags & MAP_TYPE, error = 0;
    struct linux_stat st;
    uint32_t access;

    if (!file)
        return -EBADF;
    access = file->flags & O_ACCMODE;
    if (file->flags & O_PATH)
        error = -EBADF;
    else if (args->size == 0 || type < MAP_SHARED || type > MAP_SHARED_VALIDATE)
        error = -EINVAL;
    else if (access == O_WRONLY)
        error = -EACCES;
    else if (type != MAP_PRIVATE && (args->prot & PROT_WRITE) && access != O_RDWR)
        error = -EACCES;
    else if (type != MAP_PRIVATE && access == O_RDWR && file->at.dentry &&
             inode_is_append(file->at.dentry->inode))
        error = -EACCES;
    else if (file->at.mount && (mount_get_flags(file->at.mount) & MOUNT_NOEXEC) &&
             (args->prot & PROT_EXEC))
        error = -EPERM;
    else if (!file->ops->mmap)
        error = -ENODEV;
    else
        error = file->ops->mmap(file, &args->object);
    if (error < 0) {
        file_unref(file);
        return error;
    }
    if (args->object && file->at.dentry && file_stat(file, &st) == 0)
        mappable_label(args->object, st.st_dev, st.st_ino);
    if (type != MAP_PRIVATE && access != O_RDWR)
        args->max_prot &= ~PROT_WRITE;
    if (file->at.mount && (mount_get_flags(file->at.mount) & MOUNT_NOEXEC))
        args->max_prot &= ~PROT_EXEC;
    if (file->ops->map_begin)
        error = file->ops->map_begin(file, args->prot, is_shared(args), &args->max_prot);
    if (error < 0) {
        args->object = mappable_unref(args->object);
        file_unref(file);
        return error;
    }
    *ret_file = file;
    return 0;
}

SYSCALL_DEFINE6(mmap, uaddr_t, addr, uint64_t, length, uint64_t, prot, uint64_t, flags, int, fd,
                uint64_t, offset)
{
    struct mm_map_args args = {
        .addr = addr,
        .size = length,
        .prot = (int)prot,
        .flags = (int)flags,
        .offset = offset,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
        .caller = task->ctx->regs.rip,
    };
    struct file *file = NULL;
    uaddr_t mapped;
    int error;

    if (!is_aligned(offset, PAGE_SIZE))
        return -EINVAL;
    if ((task->personality & READ_IMPLIES_EXEC) && (prot & PROT_READ))
        args.prot |= PROT_EXEC;
    if (!(flags & MAP_ANONYMOUS)) {
        error = map_file(task, fd, &args, &file);
        if (error < 0)
            return error;
    }
    error = mm_map(task->mm, &args, &mapped);
    if (file && file->ops->map_end)
        file->ops->map_end(file, args.max_prot, is_shared(&args));
    mappable_unref(args.object);
    file_unref(file);
    return error < 0 ? error : (long)mapped;
}

SYSCALL_DEFINE2(munmap, uaddr_t, addr, uint64_t, length)
{
    return mm_unmap(task->mm, addr, length);
}

SYSCALL_DEFINE3(mprotect, uaddr_t, addr, uint64_t, length, uint64_t, prot)
{
    if ((task->personality & READ_IMPLIES_EXEC) && (prot & PROT_READ))
        prot |= PROT_EXEC;
    return mm_protect(task->mm, addr, length, (int)prot);
}

SYSCALL_DEFINE5(mremap, uaddr_t, old_addr, uint64_t, old_size, uint64_t, new_size, uint64_t, flags,
                uaddr_t, new_addr)
{
    uaddr_t mapped;
    int error;

    if (flags > INT32_MAX)
        return -EINVAL;
    error = mm_remap(task->mm, old_addr, old_size, new_size, (int)flags, new_addr, &mapped);
    return error < 0 ? error : (long)mapped;
}

SYSCALL_DEFINE1(brk, uaddr_t, addr)
{
    return (long)mm_brk(task->mm, addr);
}

SYSCALL_DEFINE3(madvise, uaddr_t, addr, uint64_t, length, int, advice)
{
    return mm_advise(task->mm, addr, length, advice);
}

SYSCALL_DEFINE3(msync, uaddr_t, addr, uint64_t, length, int, flags)
{
    return mm_sync(task->mm, addr, length, flags);
}

SYSCALL_DEFINE3(mincore, uaddr_t, addr, uint64_t, length, uaddr_t, vec)
{
    uint8_t *chunk;
    uint64_t pages;
    int error = 0;

    if (!is_aligned(addr, PAGE_SIZE))
        return -EINVAL;
    if (length > task->kernel->mm_env->limits.user_max ||
        addr > task->kernel->mm_env->limits.user_max - length)
        return -ENOMEM;
    chunk = malloc(MINCORE_CHUNK);
    if (!chunk)
        return -EAGAIN;
    pages = round_up(length, PAGE_SIZE) / PAGE_SIZE;
    while (pages > 0 && error == 0) {
        uint64_t count = MIN(pages, MINCORE_CHUNK);

        error = mm_incore(task->mm, addr, count * PAGE_SIZE, chunk);
        if (error == 0)
            error = copy_to_user(task->mm, vec, chunk, count);
        pages -= count;
        addr += count * PAGE_SIZE;
        vec += count;
    }
    free(chunk);
    return error;
}

SYSCALL_DEFINE2(mlock, uaddr_t, addr, uint64_t, length)
{
    return mm_lock_range(task->mm, addr, length, true);
}

SYSCALL_DEFINE3(mlock2, uaddr_t, addr, uint64_t, length, int, flags)
{
    if (flags & ~MLOCK_ONFAULT)
        return -EINVAL;
    return flags ? mm_lock_on_fault(task->mm, addr, length)
                 : mm_lock_range(task->mm, addr, length, true);
}

SYSCALL_DEFINE2(munlock, uaddr_t, addr, uint64_t, length)
{
    return mm_lock_range(task->mm, addr, length, false);
}

SYSCALL_DEFINE1(mlockall, int, flags)
{
    return mm_lock_all(task->mm, flags);
}

SYSCALL_DEFINE0(munlockall)
{
    mm_unlock_all(task->mm);
    return 0;
}

SYSCALL_DEFINE3(mseal, uaddr_t, addr, uint64_t, length, uint64_t, flags)
{
    return flags ? -EINVAL : mm_seal(task->mm, addr, length);
}

SYSCALL_DEFINE5(remap_file_pages, uaddr_t, addr, uint64_t, size, uint64_t, prot, uint64_t, page,
                uint64_t, flags)
{
    return mm_remap_file_pages(task->mm, addr, size, prot != 0, page, (int)flags);
}

/* ---- what the guest's CPU does not have --------------------------------------------------- */

#define PKEY_ACCESS_BITS (PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE)

SYSCALL_DEFINE2(pkey_alloc, uint64_t, flags, uint64_t, rights)
{
    return flags || (rights & ~(uint64_t)PKEY_ACCESS_BITS) ? -EINVAL : -ENOSPC;
}

SYSCALL_DEFINE1(pkey_free, int, pkey)
{
    return -EINVAL; /* none was ever given out */
}

SYSCALL_DEFINE4(pkey_mprotect, uaddr_t, addr, uint64_t, length, uint64_t, prot, int, pkey)
{
    uint64_t rounded = round_up(length, PAGE_SIZE);

    if (pkey == -1)
        return mm_protect(task->mm, addr, length, (int)prot);
    /* As do_mprotect_pkey(): what it looks at before the key. */
    if (is_aligned(addr, PAGE_SIZE) && length == 0)
        return 0;
    return is_aligned(addr, PAGE_SIZE) && addr + rounded <= addr ? -ENOMEM : -EINVAL;
}

SYSCALL_DEFINE3(map_shadow_stack, uaddr_t, addr, uint64_t, size, unsigned, flags)
{
    return -EOPNOTSUPP;
}

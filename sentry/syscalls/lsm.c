/*
 * Which security modules there are and what they say of the caller: capabilities and Landlock,
 * which keep no attributes. Linux security/lsm_syscalls.c.
 */
#include <errno.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define LSM_ID_UNDEF      0
#define LSM_ID_CAPABILITY 100
#define LSM_ID_LANDLOCK   110
#define LSM_ATTR_UNDEF    0
#define LSM_FLAG_SINGLE   1u

struct guest_lsm_ctx {
    uint64_t id, flags, len, ctx_len;
    /* then ctx_len bytes */
};
static_assert(sizeof(struct guest_lsm_ctx) == 32, "struct lsm_ctx");

static const uint64_t modules[] = {LSM_ID_CAPABILITY, LSM_ID_LANDLOCK};

SYSCALL_DEFINE3(lsm_list_modules, uaddr_t, ids, uaddr_t, size_ptr, unsigned, flags)
{
    const uint32_t total = sizeof(modules);
    uint32_t size;

    if (flags)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &size, size_ptr) < 0 ||
        copy_struct_to_user(task->mm, size_ptr, &total) < 0)
        return -EFAULT;
    if (size < total)
        return -E2BIG;
    if (copy_to_user(task->mm, ids, modules, sizeof(modules)) < 0)
        return -EFAULT;
    return ARRAY_COUNT(modules);
}

SYSCALL_DEFINE4(lsm_get_self_attr, unsigned, attr, uaddr_t, ctx_ptr, uaddr_t, size_ptr, unsigned,
                flags)
{
    struct guest_lsm_ctx ctx;
    uint32_t size;
    const uint32_t none = 0;

    if (attr == LSM_ATTR_UNDEF || !size_ptr)
        return -EINVAL;
    if (copy_struct_from_user(task->mm, &size, size_ptr) < 0)
        return -EFAULT;
    if (flags) {
        if (flags != LSM_FLAG_SINGLE || !ctx_ptr)
            return -EINVAL;
        if (copy_struct_from_user(task->mm, &ctx, ctx_ptr) < 0)
            return -EFAULT;
        if (ctx.id == LSM_ID_UNDEF)
            return -EINVAL;
    }
    if (copy_struct_to_user(task->mm, size_ptr, &none) < 0)
        return -EFAULT;
    return -EOPNOTSUPP;
}

SYSCALL_DEFINE4(lsm_set_self_attr, unsigned, attr, uaddr_t, ctx_ptr, unsigned, size, unsigned,
                flags)
{
    struct guest_lsm_ctx ctx;
    uint64_t needed;
    uint8_t last;

    if (flags || size < sizeof(ctx))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (copy_struct_from_user(task->mm, &ctx, ctx_ptr) < 0 ||
        copy_struct_from_user(task->mm, &last, ctx_ptr + size - 1) < 0)
        return -EFAULT;
    if (size < ctx.len || __builtin_add_overflow(sizeof(ctx), ctx.ctx_len, &needed) ||
        ctx.len < needed)
        return -EINVAL;
    return -EOPNOTSUPP;
}

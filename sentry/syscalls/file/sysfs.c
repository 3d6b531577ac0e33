/* sysfs(2): numbers and names of file system types, as /proc/filesystems lists them. */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/vfs/fstype.h"

#define NAME_MAX_ 32 /* longer than any type's name */

static long number_of(struct task *task, uaddr_t name_ptr)
{
    const struct fs_type *type;
    char name[NAME_MAX_];
    ssize_t length = strncpy_from_user(task->mm, name, name_ptr, sizeof(name));

    if (length < 0)
        return length == -ENAMETOOLONG ? -EINVAL : length;
    for (unsigned i = 0; (type = fs_type_at(i)) != NULL; i++) {
        if (strcmp(type->name, name) == 0)
            return i;
    }
    return -EINVAL;
}

SYSCALL_DEFINE3(sysfs, int, option, uint64_t, arg1, uint64_t, arg2)
{
    const struct fs_type *type;
    unsigned count = 0;

    switch (option) {
    case 1:
        return number_of(task, arg1);
    case 2:
        type = arg1 < INT32_MAX ? fs_type_at((unsigned)arg1) : NULL;
        return type ? copy_to_user(task->mm, arg2, type->name, strlen(type->name) + 1) : -EINVAL;
    case 3:
        while (fs_type_at(count))
            count++;
        return count;
    default:
        return -EINVAL;
    }
}

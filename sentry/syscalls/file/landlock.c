/* landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/event/anon.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/vfs/landlock/landlock.h"

#define CREATE_VERSION     1u
#define CREATE_ERRATA      2u
#define RULE_PATH_BENEATH  1
#define RULE_NET_PORT      2
#define RESTRICT_FLAGS     7u /* what is to be logged: nothing ever is */
#define LOG_SUBDOMAINS_OFF 4u
#define ATTR_SIZE_FIRST    8

struct guest_ruleset_attr {
    uint64_t handled_fs, handled_net, scoped;
};

struct guest_path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

struct guest_net_port {
    uint64_t allowed, port;
};

/* An open ruleset. */
struct ruleset_file {
    struct file file;
    struct landlock_rules *rules; /* owned */
};

static void ruleset_release(struct file *f)
{
    struct ruleset_file *ruleset = container_of(f, struct ruleset_file, file);

    landlock_rules_free(ruleset->rules);
    file_fini(f);
    free(ruleset);
}

/* It may be "read" and "written": enforced and added to. */
static const struct file_operations ruleset_operations = {.stat = anon_stat,
                                                          .release = ruleset_release};

static long open_ruleset(struct task *task, const struct guest_ruleset_attr *attr)
{
    struct ruleset_file *ruleset = calloc(1, sizeof(*ruleset));

    if (!ruleset)
        return -ENOMEM;
    ruleset->rules = landlock_rules_create((uint32_t)attr->handled_fs, (uint32_t)attr->handled_net,
                                           (uint32_t)attr->scoped);
    if (!ruleset->rules) {
        free(ruleset);
        return -ENOMEM;
    }
    file_init(&ruleset->file, &ruleset_operations, O_RDWR);
    ruleset->file.path = strdup("anon_inode:[landlock-ruleset]");
    return task_install(task, &ruleset->file, 0, true);
}

/* A short structure is padded, a long one must end in zeroes. */
static int get_attr(struct task *task, uaddr_t ptr, size_t size, struct guest_ruleset_attr *ret)
{
    int err;

    *ret = (struct guest_ruleset_attr){0};
    if (!ptr)
        return -EFAULT;
    if (size < ATTR_SIZE_FIRST)
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    err = check_zero_from_user(task->mm, ptr, sizeof(*ret), size);
    return err < 0 ? err : copy_from_user(task->mm, ret, ptr, MIN(size, sizeof(*ret)));
}

SYSCALL_DEFINE3(landlock_create_ruleset, uaddr_t, attr_ptr, size_t, size, unsigned, flags)
{
    struct guest_ruleset_attr attr;
    int err;

    if (flags) {
        if (attr_ptr || size)
            return -EINVAL;
        if (flags == CREATE_VERSION)
            return LANDLOCK_ABI;
        return flags == CREATE_ERRATA ? LANDLOCK_ERRATA : -EINVAL;
    }
    err = get_attr(task, attr_ptr, size, &attr);
    if (err < 0)
        return err;
    if (attr.handled_fs & ~(uint64_t)LANDLOCK_FS_ALL ||
        attr.handled_net & ~(uint64_t)LANDLOCK_NET_ALL ||
        attr.scoped & ~(uint64_t)LANDLOCK_SCOPE_ALL)
        return -EINVAL;
    if (!attr.handled_fs && !attr.handled_net && !attr.scoped)
        return -ENOMSG;
    return open_ruleset(task, &attr);
}

/* The ruleset of a descriptor, whose file is referenced. -EBADF, -EBADFD. */
static int get_ruleset(struct task *task, int fd, struct ruleset_file **ret)
{
    struct file *file = task_file(task, fd);

    if (!file)
        return -EBADF;
    if (file->ops != &ruleset_operations) {
        file_unref(file);
        return -EBADFD;
    }
    *ret = container_of(file, struct ruleset_file, file);
    return 0;
}

static int add_path(struct task *task, struct landlock_rules *rules, uaddr_t ptr)
{
    struct guest_path_beneath attr;
    struct file *file;
    int err = -EBADFD;

    static_assert(sizeof(attr) == 12, "struct landlock_path_beneath_attr");
    if (copy_struct_from_user(task->mm, &attr, ptr) < 0)
        return -EFAULT;
    if (!attr.allowed)
        return -ENOMSG;
    if (attr.allowed & ~(uint64_t)landlock_rules_fs(rules))
        return -EINVAL;
    file = fdtable_get(task->files, attr.parent_fd); /* O_PATH will do */
    if (!file)
        return -EBADF;
    if (file->at.dentry && !file->at.dentry->sb->hidden)
        err = landlock_rules_add_path(rules, &file->at, (uint32_t)attr.allowed);
    file_unref(file);
    return err;
}

static int add_port(struct task *task, struct landlock_rules *rules, uaddr_t ptr)
{
    struct guest_net_port attr;

    if (copy_struct_from_user(task->mm, &attr, ptr) < 0)
        return -EFAULT;
    if (!attr.allowed)
        return -ENOMSG;
    if (attr.allowed & ~(uint64_t)landlock_rules_net(rules) || attr.port > UINT16_MAX)
        return -EINVAL;
    return landlock_rules_add_port(rules, (uint16_t)attr.port, (uint32_t)attr.allowed);
}

SYSCALL_DEFINE4(landlock_add_rule, int, fd, unsigned, type, uaddr_t, attr, unsigned, flags)
{
    struct ruleset_file *ruleset;
    int err;

    if (flags)
        return -EINVAL;
    err = get_ruleset(task, fd, &ruleset);
    if (err < 0)
        return err;
    if (type == RULE_PATH_BENEATH)
        err = add_path(task, ruleset->rules, attr);
    else if (type == RULE_NET_PORT)
        err = add_port(task, ruleset->rules, attr);
    else
        err = -EINVAL;
    file_unref(&ruleset->file);
    return err;
}

static int enforce(struct task *task, struct landlock_rules *rules)
{
    struct cred *cred = cred_copy(task->cred, task->cred->group_count);
    struct landlock_domain *domain;
    int err;

    if (!cred)
        return -ENOMEM;
    err = landlock_domain_create(cred->landlock, rules, &domain);
    if (err < 0) {
        cred_unref(cred);
        return err;
    }
    landlock_domain_unref(cred->landlock);
    cred->landlock = domain;
    task_set_cred(task, cred);
    return 0;
}

SYSCALL_DEFINE2(landlock_restrict_self, int, fd, unsigned, flags)
{
    struct ruleset_file *ruleset;
    int err;

    if (!task_no_new_privs(task) && !task_has_own_cap(task, CAP_SYS_ADMIN))
        return -EPERM;
    if (flags & ~RESTRICT_FLAGS)
        return -EINVAL;
    if (fd == -1 && flags == LOG_SUBDOMAINS_OFF)
        return 0;
    err = get_ruleset(task, fd, &ruleset);
    if (err < 0)
        return err;
    err = enforce(task, ruleset->rules);
    file_unref(&ruleset->file);
    return err;
}

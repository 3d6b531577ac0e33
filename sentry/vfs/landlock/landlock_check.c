/*
 * Landlock's checks (security/landlock/fs.c). For each layer there is a set of rights that are
 * still denied; on the way from the object to the root of the tree rules take rights out of it.
 * What is left at the top is denied indeed.
 */
#include <errno.h>
#include <fcntl.h>

#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/landlock/landlock_internal.h"
#include "sentry/vfs/mount/mount.h"

/* By layer, the youngest first: so many as the domain has. */
struct denied {
    uint32_t rights[LANDLOCK_LAYERS_MAX];
};

/* The caller's, if it has a say in files at all. */
static const struct landlock_domain *fs_domain(void)
{
    const struct landlock_domain *domain = vfs_identity()->landlock;

    return domain && domain->any_fs ? domain : NULL;
}

/* At first each layer denies what it handles; and moving objects about always, unless granted. */
static void deny(const struct landlock_domain *domain, uint32_t rights, struct denied *ret)
{
    for (size_t i = 0; domain; domain = domain->parent, i++)
        ret->rights[i] = rights & (domain->fs | LANDLOCK_REFER);
}

static void apply_rules(const struct landlock_domain *domain, const struct dentry *dentry,
                        struct denied *denied)
{
    const struct landlock_rule wanted = landlock_rule_of(dentry);

    for (size_t i = 0; domain; domain = domain->parent, i++)
        if (denied->rights[i])
            denied->rights[i] &= ~landlock_rule_granted(domain->list, domain->count, &wanted);
}

static uint32_t any(const struct landlock_domain *domain, const struct denied *denied)
{
    uint32_t rights = 0;

    for (size_t i = 0; i < domain->depth; i++)
        rights |= denied->rights[i];
    return rights;
}

/* From the object up to the root of the whole tree, not only of the caller's. */
static void climb(const struct landlock_domain *domain, struct mount *mount, struct dentry *dentry,
                  struct denied *denied)
{
    struct path at = path_ref((struct path){mount, dentry});

    while (any(domain, denied)) {
        struct dentry *parent;

        apply_rules(domain, at.dentry, denied);
        /* What is covered is hidden, and its rules with it. */
        if (mount_cross_up(&at, NULL) < 0)
            break;
        parent = dentry_parent(at.dentry);
        if (!parent)
            break;
        dentry_unref(at.dentry);
        at.dentry = parent;
    }
    path_unref(&at);
}

static uint32_t denied_at(const struct landlock_domain *domain, struct mount *mount,
                          struct dentry *dentry, uint32_t rights)
{
    struct denied denied;

    deny(domain, rights, &denied);
    climb(domain, mount, dentry, &denied);
    return any(domain, &denied);
}

int landlock_check(const struct path *path, uint32_t rights)
{
    const struct landlock_domain *domain = fs_domain();

    if (likely(!domain) || path->dentry->sb->hidden)
        return 0;
    return denied_at(domain, path->mount, path->dentry, rights) ? -EACCES : 0;
}

static uint32_t make_right(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFLNK:
        return LANDLOCK_MAKE_SYM;
    case S_IFDIR:
        return LANDLOCK_MAKE_DIR;
    case S_IFCHR:
        return LANDLOCK_MAKE_CHAR;
    case S_IFBLK:
        return LANDLOCK_MAKE_BLOCK;
    case S_IFIFO:
        return LANDLOCK_MAKE_FIFO;
    case S_IFSOCK:
        return LANDLOCK_MAKE_SOCK;
    default:
        return LANDLOCK_MAKE_REG;
    }
}

static uint32_t remove_right(const struct dentry *victim)
{
    if (!victim)
        return 0;
    return inode_type(victim->inode) == S_IFDIR ? LANDLOCK_REMOVE_DIR : LANDLOCK_REMOVE_FILE;
}

int landlock_check_make(const struct path *dir, uint32_t mode)
{
    return landlock_check(dir, make_right(mode));
}

int landlock_check_remove(const struct path *dir, const struct dentry *victim)
{
    return landlock_check(dir, remove_right(victim));
}

int landlock_check_open(const struct path *at, uint32_t flags, uint32_t *ret_denied)
{
    const struct landlock_domain *domain = fs_domain();
    uint32_t type = inode_type(at->dentry->inode), needed = 0, optional = LANDLOCK_TRUNCATE, denied;

    *ret_denied = 0;
    if (likely(!domain) || at->dentry->sb->hidden)
        return 0;
    if ((flags & O_ACCMODE) != O_WRONLY)
        needed = type == S_IFDIR ? LANDLOCK_READ_DIR : LANDLOCK_READ_FILE;
    if ((flags & O_ACCMODE) != O_RDONLY)
        needed |= LANDLOCK_WRITE_FILE;
    if (flags & O_TRUNC)
        needed |= LANDLOCK_TRUNCATE;
    if (type == S_IFCHR || type == S_IFBLK)
        optional |= LANDLOCK_IOCTL_DEV;
    denied = denied_at(domain, at->mount, at->dentry, needed | optional);
    if (denied & needed)
        return -EACCES;
    *ret_denied = denied & optional;
    return 0;
}

/* no_more_access(): what was denied to the object where it is must be denied where it goes. */
static bool gains(const struct landlock_domain *domain, const struct denied *from,
                  const struct denied *to, const struct dentry *object)
{
    uint32_t relevant = inode_type(object->inode) == S_IFDIR ? LANDLOCK_FS_ALL : LANDLOCK_FS_FILE;
    struct denied own = *from;

    apply_rules(domain, object, &own);
    for (size_t i = 0; i < domain->depth; i++)
        if (own.rights[i] & relevant & ~to->rights[i])
            return true;
    return false;
}

int landlock_check_refer(const struct landlock_refer *refer)
{
    const struct landlock_domain *domain = fs_domain();
    uint32_t in_old = 0, in_new = make_right(refer->old->inode->mode), lacking;
    struct denied old, new;

    if (likely(!domain))
        return 0;
    if (refer->exchange)
        in_old = make_right(refer->target->inode->mode);
    if (refer->removes) {
        in_old |= remove_right(refer->old);
        in_new |= remove_right(refer->target);
    }
    if (refer->old_dir == refer->new_dir)
        return denied_at(domain, refer->mount, refer->new_dir, in_old | in_new) ? -EACCES : 0;
    deny(domain, LANDLOCK_FS_ALL, &old);
    deny(domain, LANDLOCK_FS_ALL, &new);
    climb(domain, refer->mount, refer->old_dir, &old);
    climb(domain, refer->mount, refer->new_dir, &new);
    lacking = (any(domain, &old) & (in_old | LANDLOCK_REFER)) |
              (any(domain, &new) & (in_new | LANDLOCK_REFER));
    /* What is merely not permitted goes before what would widen an object's rights. */
    if (lacking & ~(uint32_t)LANDLOCK_REFER)
        return -EACCES;
    if (lacking || gains(domain, &old, &new, refer->old) ||
        (refer->exchange && gains(domain, &new, &old, refer->target)))
        return -EXDEV;
    return 0;
}

int landlock_check_mounts(void)
{
    return fs_domain() ? -EPERM : 0;
}

int landlock_check_port(uint16_t port, uint32_t right)
{
    const struct landlock_rule wanted = {.key = port};

    for (const struct landlock_domain *domain = vfs_identity()->landlock; domain;
         domain = domain->parent)
        if ((domain->net & right) &&
            !(landlock_rule_granted(domain->list, domain->count, &wanted) & right))
            return -EACCES;
    return 0;
}

/* Inside landlock*.c: what rules and domains are made of. */
#ifndef SENTRY_VFS_LANDLOCK_INTERNAL_H
#define SENTRY_VFS_LANDLOCK_INTERNAL_H

#include "sentry/vfs/landlock/landlock.h"

/* Rights on one object, or on one port (where sb is NULL). */
struct landlock_rule {
    struct super_block *sb; /* owned reference with inode, so that the number stays the object's */
    struct inode *inode;    /* owned reference; NULL: a port, or only for comparing */
    uint64_t dev, key;      /* st_dev and st_ino; or the port */
    uint32_t rights;
};

struct landlock_rules {
    struct lock lock;
    uint32_t fs, net, scope;    /* handled; constant */
    struct landlock_rule *list; /* ascending; guarded by lock */
    uint32_t count, room;
};

struct landlock_domain {
    refcount_t refs;
    struct landlock_domain *parent; /* owned; NULL: the first layer */
    uint32_t depth;                 /* layers, with this one */
    uint32_t fs, net, scope;        /* handled by this layer */
    bool any_fs;                    /* this one or one below handles rights on files */
    struct landlock_rule *list;     /* ascending */
    uint32_t count;
};

static inline struct landlock_rule landlock_rule_of(const struct dentry *dentry)
{
    return (struct landlock_rule){
        .sb = dentry->sb, .dev = dentry->inode->dev, .key = dentry->inode->ino};
}

/* The rights of the rule that is like `wanted`; 0: there is none. */
uint32_t landlock_rule_granted(const struct landlock_rule *list, uint32_t count,
                               const struct landlock_rule *wanted);

#endif

/*
 * Landlock: rules that a program lays upon itself and its children, landlock(7). A domain is a
 * chain of layers, the youngest first; each says which rights it handles and under which objects
 * they are granted all the same. Something may be done when every layer allows it. A layer never
 * changes once it is enforced.
 *
 *   ruleset    what landlock_create_ruleset(2) makes: rules being collected (landlock_rules)
 *   domain     what landlock_restrict_self(2) makes of it: one layer on top of those before
 *
 * Who asks is vfs_identity()->landlock. Every check costs a walk from the object up to the root of
 * the tree, and nothing at all for a program that has no domain.
 */
#ifndef SENTRY_VFS_LANDLOCK_H
#define SENTRY_VFS_LANDLOCK_H

#include "sentry/vfs/inode.h"

#define LANDLOCK_LAYERS_MAX 16
#define LANDLOCK_RULES_MAX  16384  /* of one ruleset */
#define LANDLOCK_RULES_ALL  262144 /* of the sandbox: memory of guests is bounded */
#define LANDLOCK_ABI        7      /* landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION */
#define LANDLOCK_ERRATA     7      /* the corrections that Linux counts: all are in here */

enum landlock_fs_right {
    LANDLOCK_EXECUTE = 1 << 0,
    LANDLOCK_WRITE_FILE = 1 << 1,
    LANDLOCK_READ_FILE = 1 << 2,
    LANDLOCK_READ_DIR = 1 << 3,
    LANDLOCK_REMOVE_DIR = 1 << 4,
    LANDLOCK_REMOVE_FILE = 1 << 5,
    LANDLOCK_MAKE_CHAR = 1 << 6,
    LANDLOCK_MAKE_DIR = 1 << 7,
    LANDLOCK_MAKE_REG = 1 << 8,
    LANDLOCK_MAKE_SOCK = 1 << 9,
    LANDLOCK_MAKE_FIFO = 1 << 10,
    LANDLOCK_MAKE_BLOCK = 1 << 11,
    LANDLOCK_MAKE_SYM = 1 << 12,
    LANDLOCK_REFER = 1 << 13,
    LANDLOCK_TRUNCATE = 1 << 14,
    LANDLOCK_IOCTL_DEV = 1 << 15,
    LANDLOCK_FS_ALL = (1 << 16) - 1,
};
/* Rights that make sense for what is no directory. */
#define LANDLOCK_FS_FILE                                                                           \
    (LANDLOCK_EXECUTE | LANDLOCK_WRITE_FILE | LANDLOCK_READ_FILE | LANDLOCK_TRUNCATE |             \
     LANDLOCK_IOCTL_DEV)

enum landlock_net_right { LANDLOCK_BIND_TCP = 1, LANDLOCK_CONNECT_TCP = 2, LANDLOCK_NET_ALL = 3 };
enum landlock_scope { LANDLOCK_ABSTRACT_UNIX = 1, LANDLOCK_SIGNAL = 2, LANDLOCK_SCOPE_ALL = 3 };

struct landlock_domain;
struct landlock_rules;

/* Rules being collected; NULL without memory. */
struct landlock_rules *landlock_rules_create(uint32_t fs, uint32_t net, uint32_t scope);
void landlock_rules_free(struct landlock_rules *rules); /* takes NULL */
uint32_t landlock_rules_fs(const struct landlock_rules *rules);
uint32_t landlock_rules_net(const struct landlock_rules *rules);
/* Grants rights below an object, or on it. -EINVAL, -E2BIG, -ENOMEM. */
int landlock_rules_add_path(struct landlock_rules *rules, const struct path *path, uint32_t rights);
/* For TCP, where there is any. */
int landlock_rules_add_port(struct landlock_rules *rules, uint16_t port, uint32_t rights);

/* One layer more on `parent` (NULL: none yet; a reference is taken). -E2BIG, -ENOMEM. */
int landlock_domain_create(struct landlock_domain *parent, struct landlock_rules *rules,
                           struct landlock_domain **ret);
struct landlock_domain *landlock_domain_ref(struct landlock_domain *domain);   /* takes NULL */
struct landlock_domain *landlock_domain_unref(struct landlock_domain *domain); /* takes NULL */
/* Is `above` the same domain, or one that `below` came from? NULL is above all. */
bool landlock_contains(const struct landlock_domain *above, const struct landlock_domain *below);
/* May who is in `from` not reach who is in `to` for that LANDLOCK_SCOPE_*? */
bool landlock_scoped(const struct landlock_domain *from, const struct landlock_domain *to,
                     uint32_t scope);
/* May the caller use that TCP port? 0, -EACCES. */
int landlock_check_port(uint16_t port, uint32_t right);

/* May the caller do that (all of these rights) to the object or in the directory? 0, -EACCES. */
int landlock_check(const struct path *path, uint32_t rights);
/* Making a name in the directory `dir`: the right follows from the type. */
int landlock_check_make(const struct path *dir, uint32_t mode);
int landlock_check_remove(const struct path *dir, const struct dentry *victim);
/*
 * Opening with open(2)'s flags: O_ACCMODE, O_TRUNC. What is not granted and may be wanted later
 * (LANDLOCK_TRUNCATE, LANDLOCK_IOCTL_DEV) is for the file to remember.
 */
int landlock_check_open(const struct path *at, uint32_t flags, uint32_t *ret_denied);
/* Renaming and linking, which may take an object out of what holds for it. -EXDEV as well. */
struct landlock_refer {
    struct mount *mount;
    struct dentry *old, *target; /* target: what has the new name, or NULL */
    struct dentry *old_dir, *new_dir;
    bool removes;  /* rename(2), not link(2) */
    bool exchange; /* RENAME_EXCHANGE */
};
int landlock_check_refer(const struct landlock_refer *refer);
/* Changing what is mounted where is not for a program with rules on files. 0, -EPERM. */
int landlock_check_mounts(void);

#endif

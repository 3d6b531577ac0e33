/* What an ACL says: its form, its rules, and what a mode makes of it. */
#include "sentry/vfs/attr/acl.h"

#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/vfs/attr/identity.h"

#define RWX 7U

bool acl_kind_of(const char *name, enum acl_kind *ret)
{
    if (strcmp(name, ACL_ACCESS_NAME) == 0)
        *ret = ACL_ACCESS;
    else if (strcmp(name, ACL_DEFAULT_NAME) == 0)
        *ret = ACL_DEFAULT;
    else
        return false;
    return true;
}

static bool tag_known(uint16_t tag)
{
    return tag == ACL_USER_OBJ || tag == ACL_USER || tag == ACL_GROUP_OBJ || tag == ACL_GROUP ||
           tag == ACL_MASK || tag == ACL_OTHER;
}

static bool is_named(uint16_t tag)
{
    return tag == ACL_USER || tag == ACL_GROUP;
}

int acl_parse(const void *value, size_t size, struct acl **ret)
{
    struct posix_acl_xattr_header head;
    size_t count;
    struct acl *acl;

    if (size < sizeof(head))
        return -EINVAL;
    memcpy(&head, value, sizeof(head));
    if (le32toh(head.a_version) != POSIX_ACL_XATTR_VERSION)
        return -EOPNOTSUPP;
    if ((size - sizeof(head)) % sizeof(struct posix_acl_xattr_entry) != 0)
        return -EINVAL;
    count = (size - sizeof(head)) / sizeof(struct posix_acl_xattr_entry);
    *ret = NULL;
    if (count == 0)
        return 0;
    acl = malloc(sizeof(*acl) + count * sizeof(acl->entries[0]));
    if (!acl)
        return -ENOMEM;
    acl->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct posix_acl_xattr_entry e;

        memcpy(&e, (const char *)value + sizeof(head) + i * sizeof(e), sizeof(e));
        acl->entries[i] = (struct acl_entry){le16toh(e.e_tag), le16toh(e.e_perm), le32toh(e.e_id)};
        if (!tag_known(acl->entries[i].tag)) {
            free(acl);
            return -EINVAL;
        }
    }
    *ret = acl;
    return 0;
}

size_t acl_size(const struct acl *acl)
{
    return sizeof(struct posix_acl_xattr_header) +
           acl->count * sizeof(struct posix_acl_xattr_entry);
}

void acl_format(const struct acl *acl, void *buf)
{
    struct posix_acl_xattr_header head = {.a_version = htole32(POSIX_ACL_XATTR_VERSION)};
    char *at = buf;

    memcpy(at, &head, sizeof(head));
    at += sizeof(head);
    for (uint32_t i = 0; i < acl->count; i++) {
        const struct acl_entry *entry = &acl->entries[i];
        struct posix_acl_xattr_entry e = {
            .e_tag = htole16(entry->tag),
            .e_perm = htole16(entry->perm),
            .e_id = htole32(is_named(entry->tag) ? entry->id : (uint32_t)ACL_UNDEFINED_ID),
        };

        memcpy(at, &e, sizeof(e));
        at += sizeof(e);
    }
}

/* Which place in the order of entries a tag has. */
static int rank(uint16_t tag)
{
    switch (tag) {
    case ACL_USER_OBJ:
        return 0;
    case ACL_USER:
        return 1;
    case ACL_GROUP_OBJ:
        return 2;
    case ACL_GROUP:
        return 3;
    case ACL_MASK:
        return 4;
    default:
        return 5;
    }
}

int acl_validate(const struct acl *acl)
{
    uint32_t seen[6] = {0};
    int last = 0;

    for (uint32_t i = 0; i < acl->count; i++) {
        const struct acl_entry *e = &acl->entries[i];
        int r = rank(e->tag);

        if ((e->perm & ~RWX) || r < last || (is_named(e->tag) && e->id == UINT32_MAX))
            return -EINVAL;
        last = r;
        seen[r]++;
    }
    if (seen[0] != 1 || seen[2] != 1 || seen[4] > 1 || seen[5] != 1)
        return -EINVAL;
    return (seen[1] || seen[3]) && !seen[4] ? -EINVAL : 0;
}

static int by_mask(const struct acl *acl, const struct acl_entry *entry, uint32_t want)
{
    uint32_t perm = entry->perm;

    for (uint32_t i = 0; i < acl->count; i++) {
        if (acl->entries[i].tag == ACL_MASK)
            perm &= acl->entries[i].perm;
    }
    return want & ~perm ? -EACCES : 0;
}

int acl_permission(const struct acl *acl, uint32_t uid, uint32_t gid, int mask)
{
    uint32_t asker = vfs_identity()->uid, want = (uint32_t)mask & RWX;
    bool member = false;

    for (uint32_t i = 0; i < acl->count; i++) {
        const struct acl_entry *e = &acl->entries[i];

        if (e->tag == ACL_USER_OBJ && asker == uid)
            return want & ~e->perm ? -EACCES : 0;
        if (e->tag == ACL_USER && asker == e->id)
            return by_mask(acl, e, want);
        if ((e->tag == ACL_GROUP_OBJ && vfs_in_group(gid)) ||
            (e->tag == ACL_GROUP && vfs_in_group(e->id))) {
            member = true;
            if (!(want & ~e->perm))
                return by_mask(acl, e, want);
        }
        if (e->tag == ACL_OTHER)
            return member || (want & ~e->perm) ? -EACCES : 0;
    }
    return -EACCES;
}

static struct acl_entry *find(struct acl *acl, uint16_t tag)
{
    for (uint32_t i = 0; i < acl->count; i++) {
        if (acl->entries[i].tag == tag)
            return &acl->entries[i];
    }
    return NULL;
}

/* The entry that the group's bits of a mode stand for. */
static struct acl_entry *find_group_class(struct acl *acl)
{
    struct acl_entry *mask = find(acl, ACL_MASK);

    return mask ? mask : find(acl, ACL_GROUP_OBJ);
}

static void set_perm(struct acl_entry *entry, uint32_t perm)
{
    if (entry)
        entry->perm = (uint16_t)(perm & RWX);
}

void acl_chmod(struct acl *acl, uint32_t mode)
{
    set_perm(find(acl, ACL_USER_OBJ), mode >> 6);
    set_perm(find_group_class(acl), mode >> 3);
    set_perm(find(acl, ACL_OTHER), mode);
}

bool acl_to_mode(const struct acl *acl, uint32_t *ret_permissions)
{
    uint32_t user = 0, group = 0, other = 0;
    bool masked = false;

    for (uint32_t i = 0; i < acl->count; i++) {
        const struct acl_entry *e = &acl->entries[i];

        if (e->tag == ACL_USER_OBJ)
            user = e->perm;
        else if (e->tag == ACL_OTHER)
            other = e->perm;
        else if (e->tag == ACL_MASK || (e->tag == ACL_GROUP_OBJ && !masked))
            group = e->perm;
        if (e->tag != ACL_USER_OBJ && e->tag != ACL_OTHER && e->tag != ACL_GROUP_OBJ)
            masked = true;
    }
    *ret_permissions = user << 6 | group << 3 | other;
    return !masked;
}

/* posix_acl_create_masq(): what of `acl` the permissions in *mode leave, and the other way round.
 */
static int narrow(struct acl *acl, uint32_t *mode)
{
    struct acl_entry *user = find(acl, ACL_USER_OBJ), *other = find(acl, ACL_OTHER);
    struct acl_entry *group = find_group_class(acl);

    if (!user || !other || !group)
        return -EIO;
    set_perm(user, user->perm & *mode >> 6);
    set_perm(group, group->perm & *mode >> 3);
    set_perm(other, other->perm & *mode);
    *mode = (*mode & ~0777U) | (uint32_t)user->perm << 6 | (uint32_t)group->perm << 3 |
            (uint32_t)other->perm;
    return 0;
}

int acl_inherit(struct dentry *dir, struct inode_make *make)
{
    struct acl *acl = NULL, *own;
    uint32_t permissions;
    int err = 0;

    if (S_ISLNK(make->mode))
        return 0;
    if (dir->sb->has_acls)
        err = acl_get(dir->inode, dir, ACL_DEFAULT, &acl);
    if (!acl) {
        make->mode &= ~make->umask;
        return err;
    }
    own = malloc(sizeof(*own) + acl->count * sizeof(own->entries[0]));
    if (own) {
        memcpy(own, acl, sizeof(*own) + acl->count * sizeof(own->entries[0]));
        err = narrow(own, &make->mode);
    } else {
        err = -ENOMEM;
    }
    if (err < 0 || acl_to_mode(own, &permissions)) {
        free(own);
        own = NULL;
    }
    if (err < 0 || !S_ISDIR(make->mode)) {
        free(acl);
        acl = NULL;
    }
    make->access_acl = own;
    make->default_acl = acl;
    return err;
}

void acl_inherited_free(struct inode_make *make)
{
    free(make->access_acl);
    free(make->default_acl);
    make->access_acl = make->default_acl = NULL;
}

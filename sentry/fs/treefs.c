#include "sentry/fs/treefs.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include "sentry/mm/uio.h"
#include "sentry/vfs/dirent.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/attr/setattr.h"

#define WRITE_MAX 4095

struct tree_super {
    struct super_block sb;
    int64_t magic;
    void (*release)(void *arg);
    void *arg;
};

struct tree_inode {
    struct inode inode;
    const struct tree_node *node;
    uint64_t key;
    struct timespec seen; /* when this object came to be in memory: all times of stat(2) */
};

/* A text as it was at one moment. */
struct snapshot {
    refcount_t refs;
    int64_t size;
    char text[];
};

/* A directory or a text that is being read. */
struct tree_file {
    struct file file;
    struct lock lock;
    struct snapshot *snapshot __guarded_by(lock); /* a reference; NULL: not read yet */
    const struct tree_node *node;
    uint64_t key;
};

static const struct inode_operations tree_operations;
static const struct inode_operations magic_operations;

static struct tree_inode *tree_inode_of(const struct dentry *dentry)
{
    return container_of(dentry->inode, struct tree_inode, inode);
}

static const struct tree_node *node_of(const struct dentry *dentry)
{
    return tree_inode_of(dentry)->node;
}

/*
 * Stable, and tells nothing about where things are in our memory. `key` is its own of a child that
 * comes and goes, since its name may come back for another object; 0 of one that is always there.
 */
static uint64_t child_ino(uint64_t parent_ino, const char *name, size_t size, uint64_t key)
{
    return XXH3_64bits_withSeed(name, size, parent_ino ^ key << 32 ^ key >> 32) >> 32 | 1;
}

/* For those who ask the inode: chmod(2) and its kin. */
static void take_attributes(struct tree_inode *inode)
{
    const struct tree_node *node = inode->node;
    uint32_t mode = 0;

    if (!node->get_attr)
        return;
    node->get_attr(inode->key, node->aspect, &mode, &inode->inode.uid, &inode->inode.gid);
    inode->inode.mode = (node->mode & S_IFMT) | (mode & 07777);
}

static struct inode *inode_new(const struct tree_node *node, uint64_t key, uint64_t dev,
                               uint64_t ino)
{
    struct tree_inode *inode = malloc(sizeof(*inode));

    if (!inode)
        return NULL;
    if (node->number)
        ino = node->number(key);
    inode_init(&inode->inode, node->follow ? &magic_operations : &tree_operations, node->mode, dev,
               ino);
    inode->node = node;
    inode->key = key;
    inode->seen = vfs_now();
    take_attributes(inode);
    return &inode->inode;
}

static void tree_inode_release(struct inode *inode)
{
    free(container_of(inode, struct tree_inode, inode));
}

static const struct tree_node *find_fixed(const struct tree_node *node, struct name name)
{
    for (size_t i = 0; i < node->child_count; i++) {
        const struct tree_node *child = &node->children[i];

        if (strlen(child->name) == name.size && memcmp(child->name, name.text, name.size) == 0)
            return child;
    }
    return NULL;
}

static int tree_lookup(struct dentry *dir, const struct name *names, int count,
                       struct inode **ret_inodes, int *ret_error)
{
    const struct tree_node *node = node_of(dir), *child = find_fixed(node, names[0]);
    uint64_t key = tree_inode_of(dir)->key, own_key = 0;

    if (node->alive && !node->alive(key))
        child = NULL;
    *ret_error = child ? 0 : -ENOENT;
    if (!child && node->find) {
        *ret_error = node->find(key, names[0], &child, &own_key);
        key = own_key;
    }
    if (*ret_error < 0)
        return 0;
    ret_inodes[0] = inode_new(child, key, dir->inode->dev,
                              child_ino(dir->inode->ino, names[0].text, names[0].size, own_key));
    return ret_inodes[0] ? 1 : -ENOMEM;
}

static ssize_t tree_readlink(struct dentry *link, char *buf, size_t size)
{
    const struct tree_node *node = node_of(link);
    size_t length;

    if (node->readlink)
        return node->readlink(tree_inode_of(link)->key, buf, size);
    length = strlen(node->target);
    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(buf, node->target, length + 1);
    return (ssize_t)length;
}

static int tree_follow(struct dentry *link, struct link_target *ret)
{
    return node_of(link)->follow(tree_inode_of(link)->key, ret);
}

/* The type is in ret_mode as well. */
static void attributes(const struct dentry *dentry, uint32_t *ret_mode, uint32_t *ret_uid,
                       uint32_t *ret_gid)
{
    const struct tree_node *node = node_of(dentry);
    uint64_t key = tree_inode_of(dentry)->key;

    *ret_mode = node->mode;
    if (node->owner)
        node->owner(key, ret_uid, ret_gid);
    if (node->get_attr) {
        node->get_attr(key, node->aspect, ret_mode, ret_uid, ret_gid);
        *ret_mode = (node->mode & S_IFMT) | (*ret_mode & 07777);
    }
}

static void put_times(struct linux_stat *st, const struct timespec *at)
{
    st->st_atime_sec = st->st_mtime_sec = st->st_ctime_sec = (uint64_t)at->tv_sec;
    st->st_atime_nsec = st->st_mtime_nsec = st->st_ctime_nsec = (uint64_t)at->tv_nsec;
}

static int tree_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    const struct tree_node *node = node_of(dentry);
    uint64_t links = 1;

    if (S_ISDIR(node->mode)) {
        links = 2;
        for (size_t i = 0; i < node->child_count; i++)
            links += S_ISDIR(node->children[i].mode);
    }
    *ret = (struct linux_stat){
        .st_dev = dentry->inode->dev,
        .st_ino = dentry->inode->ino,
        .st_nlink = links,
        .st_mode = node->mode,
        .st_rdev = makedev(node->major, node->minor),
        .st_size = node->target ? (int64_t)strlen(node->target) : 0,
        .st_blksize = 4096,
    };
    put_times(ret, &tree_inode_of(dentry)->seen);
    attributes(dentry, &ret->st_mode, &ret->st_uid, &ret->st_gid);
    if (node->status)
        node->status(tree_inode_of(dentry)->key, ret);
    return 0;
}

/* A shell's `>`: there is nothing to cut off. */
static int tree_truncate(struct dentry *dentry, uint64_t size)
{
    const struct tree_node *node = node_of(dentry);

    return node->write || node->open_object ? 0 : -EACCES;
}

static int tree_setattr(struct dentry *dentry, const struct inode_attr *attr)
{
    const struct tree_node *node = node_of(dentry);
    int err = -EPERM;

    if (node->set_attr)
        err = node->set_attr(tree_inode_of(dentry)->key, node->aspect, attr);
    if (!err)
        take_attributes(tree_inode_of(dentry));
    return err;
}

static int tree_make(struct dentry *dir, struct name name, const struct inode_make *make,
                     struct inode **ret)
{
    const struct tree_node *node = node_of(dir), *child;
    uint64_t key;
    int err;

    if (!node->make || !S_ISDIR(make->mode))
        return -EPERM;
    err = node->make(tree_inode_of(dir)->key, name, make, &child, &key);
    if (err < 0)
        return err;
    *ret = inode_new(child, key, dir->inode->dev, 0);
    return *ret ? 0 : -ENOMEM;
}

static int tree_remove(struct dentry *dir, struct dentry *victim)
{
    const struct tree_node *node = node_of(victim);

    return node->remove ? node->remove(tree_inode_of(victim)->key) : -EPERM;
}

static int tree_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct tree_super *super = container_of(dentry->sb, struct tree_super, sb);

    *ret = (struct linux_statfs){
        .f_type = super->magic,
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_namelen = VFS_NAME_MAX,
    };
    return 0;
}

static uint32_t class_bits(uint32_t bits, uint32_t uid, uint32_t gid)
{
    if (vfs_identity()->uid == uid)
        return bits >> 6;
    return vfs_in_group(gid) ? bits >> 3 : bits;
}

static int tree_access(struct dentry *dentry, int mask)
{
    const struct tree_node *node = node_of(dentry);
    uint32_t uid = 0, gid = 0, bits;

    attributes(dentry, &bits, &uid, &gid);
    if (!((uint32_t)mask & ~class_bits(bits, uid, gid) & 7))
        return 0;
    if (!(mask & W_OK) && (S_ISDIR(node->mode) || mask == R_OK) &&
        vfs_has_cap_over(uid, gid, CAP_DAC_READ_SEARCH))
        return 0;
    if ((S_ISDIR(node->mode) || !(mask & X_OK) || (bits & 0111)) &&
        vfs_has_cap_over(uid, gid, CAP_DAC_OVERRIDE))
        return 0;
    return -EACCES;
}

static struct tree_file *tree_file_of(struct file *f)
{
    return container_of(f, struct tree_file, file);
}

static struct snapshot *snapshot_ref(struct snapshot *s)
{
    refcount_get(&s->refs);
    return s;
}

static struct snapshot *snapshot_unref(struct snapshot *s)
{
    if (s && refcount_put(&s->refs))
        free(s);
    return NULL;
}

static bool has_text(const struct tree_node *node)
{
    return node->text || node->fixed;
}

static ssize_t make_text(const struct tree_node *node, uint64_t key, char *buf, size_t size)
{
    size_t length;

    if (node->text)
        return node->text(key, buf, size);
    length = strlen(node->fixed);
    memcpy(buf, node->fixed, MIN(length, size));
    return (ssize_t)length;
}

/* Makes the text at its full length, however long it turns out to be. */
static int snapshot_make(const struct tree_node *node, uint64_t key, struct snapshot **ret)
{
    struct snapshot *s = NULL;
    size_t room = 4096;

    for (;;) {
        struct snapshot *larger = realloc(s, sizeof(*s) + room);
        ssize_t n;

        if (!larger) {
            free(s);
            return -ENOMEM;
        }
        s = larger;
        n = make_text(node, key, s->text, room);
        if (n < 0) {
            free(s);
            return (int)n;
        }
        if ((size_t)n <= room) {
            refcount_set(&s->refs, 1);
            s->size = n;
            *ret = s;
            return 0;
        }
        room = (size_t)n + 4096;
    }
}

/*
 * Whoever reads from the beginning sees what holds now, as with Linux's seq_file: that is how
 * programs watch a file that they keep open.
 */
static int snapshot_at(struct tree_file *t, int64_t pos, struct snapshot **ret)
{
    struct snapshot *renewed = NULL, *old = NULL;
    int err;

    lock_acquire(&t->lock);
    if (pos != 0 && t->snapshot)
        *ret = snapshot_ref(t->snapshot);
    else
        *ret = NULL;
    lock_release(&t->lock);
    if (*ret)
        return 0;
    err = snapshot_make(t->node, t->key, &renewed);
    if (err < 0)
        return err;
    *ret = snapshot_ref(renewed);
    lock_acquire(&t->lock);
    old = t->snapshot;
    t->snapshot = renewed;
    lock_release(&t->lock);
    snapshot_unref(old);
    return 0;
}

static ssize_t text_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct snapshot *s;
    ssize_t n;

    if (!has_text(tree_file_of(f)->node))
        return -EINVAL; /* it can only be written */
    n = snapshot_at(tree_file_of(f), *pos, &s);
    if (n < 0)
        return n;
    if (*pos < s->size)
        n = uio_copy_out(uio, s->text + *pos, (size_t)(s->size - *pos));
    snapshot_unref(s);
    if (n > 0)
        *pos += n;
    return n;
}

static ssize_t text_write(struct file *f, struct uio *uio, int64_t *pos)
{
    struct tree_file *t = tree_file_of(f);
    char buf[WRITE_MAX + 1];
    size_t size = MIN(uio->left, (size_t)WRITE_MAX);
    ssize_t n = uio_copy_in(uio, buf, size);
    int err;

    if (n < 0)
        return n;
    buf[n] = 0;
    err = t->node->write(t->key, buf, (size_t)n);
    if (err < 0)
        return err;
    *pos += n;
    return n;
}

/* seq_lseek(): a text has no end to count from. */
static int64_t text_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return whence == SEEK_END ? -EINVAL : file_seek_in(offset, whence, pos, 0);
}

static void tree_file_release(struct file *f)
{
    struct tree_file *t = tree_file_of(f);

    file_fini(f);
    lock_destroy(&t->lock);
    snapshot_unref(t->snapshot);
    free(t);
}

/* One entry of a listing. */
struct listed {
    char name[VFS_NAME_MAX + 1];
    const struct tree_node *node; /* NULL: "." or ".." */
    uint64_t ino;
    int64_t next;
};

/*
 * The entry at `pos` or, where that is gone, the next one. Positions: 0 is ".", 1 is "..", then the
 * fixed children, then the others by their numbers.
 */
static bool entry_at(struct dentry *dir, int64_t pos, struct listed *ret)
{
    const struct tree_node *node = node_of(dir), *found;
    int64_t base = 2 + (int64_t)node->child_count, number;
    uint64_t self = dir->inode->ino, own_key = 0;

    if (pos < 2) {
        *ret = (struct listed){.ino = self, .next = pos + 1};
        memcpy(ret->name, "..", (size_t)pos + 1);
        if (pos == 1 && dir->parent)
            ret->ino = dir->parent->inode->ino;
        return true;
    }
    if (pos < base) {
        *ret = (struct listed){.node = &node->children[pos - 2], .next = pos + 1};
        snprintf(ret->name, sizeof(ret->name), "%s", ret->node->name);
    } else {
        number = node->list ? node->list(tree_inode_of(dir)->key, pos - base, ret->name,
                                         sizeof(ret->name), &ret->node)
                            : -1;
        if (number < 0)
            return false;
        ret->next = base + number + 1;
        (void)node->find(tree_inode_of(dir)->key, (struct name){ret->name, strlen(ret->name)},
                         &found, &own_key);
    }
    if (pos >= base && ret->node->number)
        ret->ino = ret->node->number((uint64_t)(ret->next - base - 1));
    else
        ret->ino = child_ino(self, ret->name, strlen(ret->name), own_key);
    return true;
}

static int dir_getdents(struct file *f, struct dirent_sink *sink, int64_t *pos)
{
    struct listed entry;

    while (entry_at(f->at.dentry, *pos, &entry)) {
        uint8_t type = entry.node ? IFTODT(entry.node->mode) : DT_DIR;

        if (!sink->emit(sink, entry.name, strlen(entry.name), entry.ino, entry.next, type))
            break;
        *pos = entry.next;
    }
    return 0;
}

static int64_t dir_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    int64_t target = whence == SEEK_CUR ? pos + offset : offset;

    return whence > SEEK_CUR || target < 0 ? -EINVAL : target;
}

static const struct file_operations text_operations = {
    .read = text_read,
    .llseek = text_llseek,
    .release = tree_file_release,
};

static const struct file_operations writable_operations = {
    .read = text_read,
    .write = text_write,
    .llseek = text_llseek,
    .release = tree_file_release,
};

static const struct file_operations dir_operations = {
    .getdents = dir_getdents,
    .llseek = dir_llseek,
    .release = tree_file_release,
};

const struct tree_node *treefs_dir_node(const struct file *file, uint64_t *ret_key)
{
    if (file->ops != &dir_operations)
        return NULL;
    *ret_key = tree_inode_of(file->at.dentry)->key;
    return node_of(file->at.dentry);
}

const struct tree_node *treefs_node(const struct dentry *dentry)
{
    return node_of(dentry);
}

uint64_t treefs_ino(uint64_t dir_ino, const char *name)
{
    return child_ino(dir_ino, name, strlen(name), 0);
}

uint64_t treefs_key(const struct dentry *dentry)
{
    return tree_inode_of(dentry)->key;
}

static const struct file_operations *operations_of(const struct tree_node *node)
{
    if (node->write)
        return &writable_operations;
    return has_text(node) ? &text_operations : &dir_operations;
}

/* What an open asks for, as access(2) says it. */
static int access_of(uint32_t flags)
{
    static const int wanted[4] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};

    return wanted[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0);
}

static int tree_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    const struct tree_node *node = node_of(dentry);
    struct tree_file *t;
    char none;
    int err = 0;

    if (node->open)
        return node->open(node, flags, ret);
    err = tree_access(dentry, access_of(flags));
    if (err < 0)
        return err;
    if (node->open_object)
        return node->open_object(tree_inode_of(dentry)->key, flags, ret);
    if (!S_ISDIR(node->mode) && !has_text(node) && !node->write)
        return -ENXIO;
    if (((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) && !node->write)
        return -EACCES;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->node = node;
    t->key = tree_inode_of(dentry)->key;
    lock_init(&t->lock);
    file_init(&t->file, operations_of(node), flags);
    if (node->text && !node->text_at_read && (flags & O_ACCMODE) != O_WRONLY)
        err = (int)MIN(node->text(t->key, &none, 0), 0); /* may it be read at all? */
    if (err < 0) {
        file_unref(&t->file);
        return err;
    }
    *ret = &t->file;
    return 0;
}

static const struct inode_operations tree_operations = {
    .lookup = tree_lookup,
    .readlink = tree_readlink,
    .open = tree_open,
    .stat = tree_stat,
    .statfs = tree_statfs,
    .truncate = tree_truncate,
    .setattr = tree_setattr,
    .make = tree_make,
    .remove = tree_remove,
    .access = tree_access,
    .release = tree_inode_release,
};

static const struct inode_operations magic_operations = {
    .readlink = tree_readlink,
    .follow = tree_follow,
    .stat = tree_stat,
    .statfs = tree_statfs,
    .release = tree_inode_release,
};

static void tree_super_release(struct super_block *sb)
{
    struct tree_super *super = container_of(sb, struct tree_super, sb);

    if (super->release)
        super->release(super->arg);
    free(super);
}

int treefs_create_with(const struct tree_config *config, struct super_block **ret)
{
    struct tree_super *super = calloc(1, sizeof(*super));
    uint64_t dev = makedev(0, config->dev_minor);
    struct inode *inode = super ? inode_new(config->root, config->key, dev, 1) : NULL;

    if (!inode || super_init(&super->sb, inode, tree_super_release) < 0) {
        inode_unref(inode);
        free(super);
        return -ENOMEM;
    }
    super->sb.read_only = true;
    super->sb.dev = (uint32_t)dev;
    super->sb.type = config->type;
    super->sb.no_questions = strcmp(config->type, "proc") == 0;
    super->magic = config->magic;
    super->release = config->release;
    super->arg = config->arg;
    *ret = &super->sb;
    return 0;
}

int treefs_create(const struct tree_node *root, const char *type, int64_t magic, uint32_t dev_minor,
                  struct super_block **ret)
{
    const struct tree_config config = {
        .root = root, .type = type, .magic = magic, .dev_minor = dev_minor};

    return treefs_create_with(&config, ret);
}

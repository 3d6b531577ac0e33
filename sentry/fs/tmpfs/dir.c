/* tmpfs directories: what is done to names, and open directories. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/vfs/dirent.h"

static bool is_dir(const struct tmpfs_inode *inode)
{
    return inode_type(&inode->inode) == S_IFDIR;
}

static struct tmpfs_entry *entry_of(struct named *named)
{
    return named ? container_of(named, struct tmpfs_entry, named) : NULL;
}

static struct tmpfs_entry *find(struct tmpfs_dir *dir, struct name name)
{
    return entry_of(nametable_find(&dir->entries, name));
}

static struct tmpfs_entry *entry_new(struct name name)
{
    return entry_of(named_new(sizeof(struct tmpfs_entry), name));
}

/* Takes over a reference on `inode`. */
static void insert(struct tmpfs_inode *dir, struct tmpfs_entry *entry, struct tmpfs_inode *inode)
{
    entry->inode = inode;
    nametable_insert(&dir->dir.entries, &entry->named);
}

/* Frees the entry; its inode's reference is for the caller. */
static struct tmpfs_inode *take_out(struct tmpfs_inode *dir, struct tmpfs_entry *entry)
{
    struct tmpfs_inode *inode = entry->inode;

    nametable_remove(&dir->dir.entries, &entry->named);
    free(entry);
    return inode;
}

/* Without recursion: a tree may be deeper than our stack. */
void tmpfs_dir_clear(struct tmpfs_inode *top)
{
    struct tmpfs_inode *dir = top;

    for (;;) {
        struct tmpfs_entry *entry = entry_of(nametable_first(&dir->dir.entries));
        struct tmpfs_inode *child;

        if (!entry && dir == top)
            return;
        if (!entry) {
            child = dir;
            dir = dir->dir.up;
            inode_unref(&child->inode);
            continue;
        }
        child = take_out(dir, entry);
        if (nametable_count(&child->dir.entries) > 0 && refcount_read(&child->inode.refs) == 1) {
            child->dir.up = dir;
            dir = child;
        } else {
            inode_unref(&child->inode);
        }
    }
}

static void change_nlink(struct tmpfs_inode *inode, int by)
{
    __atomic_add_fetch(&inode->nlink, (uint32_t)by, __ATOMIC_RELAXED);
}

/* Nothing can be made in a directory that was removed. */
static bool is_dead(const struct tmpfs_inode *dir)
{
    return __atomic_load_n(&dir->nlink, __ATOMIC_RELAXED) == 0;
}

int tmpfs_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
                 int *ret_error)
{
    struct tmpfs_inode *at = tmpfs_inode_of(dir->inode);
    struct tmpfs_entry *entry = find(&at->dir, names[0]);

    *ret_error = entry ? 0 : -ENOENT;
    if (!entry)
        return 0;
    ret_inodes[0] = inode_ref(&entry->inode->inode);
    return 1;
}

int tmpfs_make(struct dentry *dentry, struct name name, const struct inode_make *make,
               struct inode **ret)
{
    struct tmpfs_inode *dir = tmpfs_inode_of(dentry->inode), *inode;
    struct tmpfs_entry *entry;
    int err;

    if (is_dead(dir))
        return -ENOENT;
    entry = entry_new(name);
    if (!entry)
        return -ENOMEM;
    err = tmpfs_inode_create(dir->fs, make, &inode);
    if (err < 0) {
        free(entry);
        return err;
    }
    inode->nlink = 1;
    if (is_dir(inode)) {
        inode->nlink = 2;
        change_nlink(dir, 1);
    }
    insert(dir, entry, inode);
    tmpfs_touch(dir, TOUCH_MTIME | TOUCH_CTIME);
    *ret = inode_ref(&inode->inode);
    return 0;
}

int tmpfs_tmpfile(struct dentry *dentry, const struct inode_make *make, bool linkable,
                  struct inode **ret)
{
    struct tmpfs_inode *dir = tmpfs_inode_of(dentry->inode), *inode;
    int err = is_dead(dir) ? -ENOENT : tmpfs_inode_create(dir->fs, make, &inode);

    if (err < 0)
        return err;
    inode->linkable = linkable;
    *ret = &inode->inode;
    return 0;
}

int tmpfs_link(struct dentry *dentry, struct name name, struct dentry *object)
{
    struct tmpfs_inode *dir = tmpfs_inode_of(dentry->inode);
    struct tmpfs_inode *inode = tmpfs_inode_of(object->inode);
    struct tmpfs_entry *entry;

    if (is_dead(dir) || (inode->nlink == 0 && !inode->linkable))
        return -ENOENT;
    if (inode->nlink >= INT32_MAX)
        return -EMLINK;
    entry = entry_new(name);
    if (!entry)
        return -ENOMEM;
    inode_ref(&inode->inode);
    insert(dir, entry, inode);
    change_nlink(inode, 1);
    inode->linkable = false;
    tmpfs_touch(inode, TOUCH_CTIME);
    tmpfs_touch(dir, TOUCH_MTIME | TOUCH_CTIME);
    return 0;
}

/* The name is out of `dir`: what that means for the object, whose reference is taken over. */
static void unlinked(struct tmpfs_inode *dir, struct tmpfs_inode *inode)
{
    if (is_dir(inode)) {
        change_nlink(dir, -1);
        change_nlink(inode, -2);
    } else {
        change_nlink(inode, -1);
    }
    tmpfs_touch(inode, TOUCH_CTIME);
    inode_unref(&inode->inode);
}

int tmpfs_remove(struct dentry *dentry, struct dentry *victim)
{
    struct tmpfs_inode *dir = tmpfs_inode_of(dentry->inode);
    struct tmpfs_entry *entry = find(&dir->dir, dentry_name(victim));

    if (!entry)
        return -ENOENT;
    if (nametable_count(&entry->inode->dir.entries) > 0)
        return -ENOTEMPTY;
    unlinked(dir, take_out(dir, entry));
    tmpfs_touch(dir, TOUCH_MTIME | TOUCH_CTIME);
    return 0;
}

/* A directory goes from one to another: its ".." counts there now. */
static void move_dotdot(struct tmpfs_inode *inode, struct tmpfs_inode *from, struct tmpfs_inode *to)
{
    if (is_dir(inode) && from != to) {
        change_nlink(from, -1);
        change_nlink(to, 1);
    }
}

static void touch_both(struct tmpfs_inode *a, struct tmpfs_inode *b)
{
    tmpfs_touch(a, TOUCH_MTIME | TOUCH_CTIME);
    if (a != b)
        tmpfs_touch(b, TOUCH_MTIME | TOUCH_CTIME);
}

int tmpfs_rename(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                 struct name name, struct dentry *replaced)
{
    struct tmpfs_inode *from = tmpfs_inode_of(old_dir->inode), *to = tmpfs_inode_of(new_dir->inode);
    struct tmpfs_entry *entry = find(&from->dir, dentry_name(old)), *there, *fresh;
    struct tmpfs_inode *inode;

    if (!entry || is_dead(to))
        return -ENOENT;
    there = find(&to->dir, name);
    if (there && nametable_count(&there->inode->dir.entries) > 0)
        return -ENOTEMPTY;
    fresh = entry_new(name);
    if (!fresh)
        return -ENOMEM;
    if (there)
        unlinked(to, take_out(to, there));
    inode = take_out(from, entry);
    insert(to, fresh, inode);
    move_dotdot(inode, from, to);
    tmpfs_touch(inode, TOUCH_CTIME);
    touch_both(from, to);
    return 0;
}

int tmpfs_exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b)
{
    struct tmpfs_inode *a_at = tmpfs_inode_of(a_dir->inode), *b_at = tmpfs_inode_of(b_dir->inode);
    struct tmpfs_entry *a_entry = find(&a_at->dir, dentry_name(a));
    struct tmpfs_entry *b_entry = find(&b_at->dir, dentry_name(b));
    struct tmpfs_inode *inode;

    if (!a_entry || !b_entry)
        return -ENOENT;
    inode = a_entry->inode;
    a_entry->inode = b_entry->inode;
    b_entry->inode = inode;
    move_dotdot(b_entry->inode, a_at, b_at);
    move_dotdot(a_entry->inode, b_at, a_at);
    tmpfs_touch(a_entry->inode, TOUCH_CTIME);
    tmpfs_touch(b_entry->inode, TOUCH_CTIME);
    touch_both(a_at, b_at);
    return 0;
}

/* ---- open directories ----------------------------------------------------------------------- */

/* What a listing shows at one position, copied out from under the lock. */
struct listed {
    char name[VFS_NAME_MAX + 1];
    size_t size;
    uint64_t ino;
    int64_t next;
    uint8_t type;
};

static void list_dots(struct file *f, int64_t pos, struct listed *ret)
{
    struct dentry *dir = f->at.dentry, *parent = pos ? dentry_parent(dir) : NULL;

    *ret = (struct listed){.size = (size_t)pos + 1, .next = pos + 1, .type = DT_DIR};
    memcpy(ret->name, "..", ret->size);
    ret->ino = parent ? parent->inode->ino : dir->inode->ino;
    dentry_unref(parent);
}

static bool list_entry_at(struct file *f, int64_t pos, struct listed *ret)
{
    struct tmpfs_inode *dir = tmpfs_inode_of(f->at.dentry->inode);
    struct super_block *sb = f->at.dentry->sb;
    struct tmpfs_entry *entry;

    tree_lock(sb);
    entry = entry_of(nametable_next(&dir->dir.entries, pos));
    if (entry) {
        *ret = (struct listed){
            .size = entry->named.name.size,
            .ino = entry->inode->inode.ino,
            .next = entry->named.cookie + 1,
            .type = IFTODT(entry->inode->inode.mode),
        };
        memcpy(ret->name, entry->named.name.text, entry->named.name.size);
    }
    tree_unlock(sb);
    return entry != NULL;
}

static int dir_getdents(struct file *f, struct dirent_sink *sink, int64_t *pos)
{
    struct tmpfs_inode *dir = tmpfs_inode_of(f->at.dentry->inode);
    struct listed entry;

    if (is_dead(dir))
        return -ENOENT;
    for (;;) {
        if (*pos < TMPFS_FIRST_COOKIE)
            list_dots(f, *pos, &entry);
        else if (!list_entry_at(f, *pos, &entry))
            break;
        if (!sink->emit(sink, entry.name, entry.size, entry.ino, entry.next, entry.type))
            break;
        *pos = entry.next;
    }
    tmpfs_accessed(dir, tmpfs_atime_of(f));
    return 0;
}

static int64_t dir_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    int64_t target;

    if (whence > SEEK_CUR || __builtin_add_overflow(whence == SEEK_CUR ? pos : 0, offset, &target))
        return -EINVAL;
    return target < 0 ? -EINVAL : target;
}

static int dir_sync(struct file *f)
{
    return 0; /* there is nothing behind it */
}

static void dir_release(struct file *f)
{
    file_fini(f);
    free(f);
}

static const struct file_operations dir_operations = {
    .llseek = dir_llseek,
    .getdents = dir_getdents,
    .sync = dir_sync,
    .release = dir_release,
};

int tmpfs_dir_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct file *f = malloc(sizeof(*f));

    if (!f)
        return -ENOMEM;
    file_init(f, &dir_operations, flags);
    *ret = f;
    return 0;
}

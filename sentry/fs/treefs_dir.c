/* Open directories of treefs: the fixed children, and those that come and go. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sentry/fs/treefs_internal.h"
#include "sentry/vfs/dirent.h"

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
    const struct tree_node *node = tree_node_of(dir), *found;
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
        ret->ino = tree_child_ino(self, ret->name, strlen(ret->name), own_key);
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

const struct file_operations tree_dir_operations = {
    .getdents = dir_getdents,
    .llseek = dir_llseek,
    .release = tree_file_release,
};

const struct tree_node *treefs_dir_node(const struct file *file, uint64_t *ret_key)
{
    if (file->ops != &tree_dir_operations)
        return NULL;
    *ret_key = tree_inode_of(file->at.dentry)->key;
    return tree_node_of(file->at.dentry);
}

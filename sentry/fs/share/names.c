/* Names of a share: each change is made by the host, and only then here. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>

#include "sentry/fs/share/internal.h"

static const struct name no_name = {"", 0};

static bool same_object(const struct inode *inode, const struct linux_stat *st)
{
    return inode->ino == st->st_ino && inode->dev == st->st_dev &&
           inode_type(inode) == (st->st_mode & S_IFMT);
}

/* One name at a time: what is known already needs no handle. */
int share_lookup(struct dentry *dir, const struct name *names, int count, struct inode **ret_inodes,
                 int *ret_error)
{
    struct share_inode *s = share_inode_of(dir);
    struct share_request_head head = {.op = SHARE_LOOKUP, .handle = s->handle};
    struct dentry *known = dentry_find(dir, names[0]);
    char target[PATH_MAX];
    struct share_answer answer = {.data = target, .room = sizeof(target) - 1};
    int err;

    if (known) {
        head.known_dev = known->inode->dev;
        head.known_ino = known->inode->ino;
    }
    *ret_error = 0;
    err = share_ask(s->fs, &head, names[0], NULL, 0, &answer);
    if (!err && answer.handle == 0) {
        if (known && same_object(known->inode, &answer.stat)) {
            (void)share_learn(share_inode_of(known), &answer);
            ret_inodes[0] = inode_ref(known->inode);
        } else {
            err = -EIO; /* the gofer did not keep to what it was asked */
        }
    } else if (!err) {
        target[answer.data_size] = '\0';
        ret_inodes[0] =
            share_inode_new(s->fs, &answer, S_ISLNK(answer.stat.st_mode) ? target : NULL);
        if (!ret_inodes[0])
            err = -ENOMEM;
    }
    dentry_unref(known);
    if (err == -ENOENT || err == -EACCES) {
        *ret_error = err;
        return 0;
    }
    return err < 0 ? err : 1;
}

static int make(struct dentry *dir, enum share_op op, struct name name,
                const struct inode_make *make, struct inode **ret)
{
    struct share_inode *s = share_inode_of(dir);
    const struct share_request_head head = {
        .op = op, .handle = s->handle, .mode = make->mode, .uid = make->uid, .gid = make->gid};
    struct share_answer answer = {.data = NULL};
    int err = share_ask(s->fs, &head, name, make->target, make->target ? strlen(make->target) : 0,
                        &answer);

    if (err < 0)
        return err;
    if (answer.handle == 0 || (answer.stat.st_mode ^ make->mode) & S_IFMT) {
        share_forget(s->fs, answer.handle); /* the gofer made something else */
        return -EIO;
    }
    *ret = share_inode_new(s->fs, &answer, make->target);
    return *ret ? 0 : -ENOMEM;
}

int share_make(struct dentry *dir, struct name name, const struct inode_make *what,
               struct inode **ret)
{
    /* No node that means something to the host. */
    if ((S_ISCHR(what->mode) || S_ISBLK(what->mode)) && what->rdev)
        return -EPERM;
    return make(dir, SHARE_MAKE, name, what, ret);
}

int share_tmpfile(struct dentry *dir, const struct inode_make *what, bool linkable,
                  struct inode **ret)
{
    int err = make(dir, SHARE_TMPFILE, no_name, what, ret);

    if (!err)
        container_of(*ret, struct share_inode, inode)->linkable = linkable;
    return err;
}

int share_link(struct dentry *dir, struct name name, struct dentry *object)
{
    struct share_inode *s = share_inode_of(object);
    const struct share_request_head head = {
        .op = SHARE_LINK, .handle = s->handle, .handle2 = share_inode_of(dir)->handle};
    struct share_answer answer = {.data = NULL};

    return share_ask(s->fs, &head, name, NULL, 0, &answer);
}

int share_remove(struct dentry *dir, struct dentry *victim)
{
    struct share_inode *s = share_inode_of(dir);
    const struct share_request_head head = {
        .op = SHARE_REMOVE,
        .handle = s->handle,
        .flags = inode_type(victim->inode) == S_IFDIR ? AT_REMOVEDIR : 0,
    };
    struct share_answer answer = {.data = NULL};

    return share_ask(s->fs, &head, dentry_name(victim), NULL, 0, &answer);
}

static int rename_it(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                     struct name name, uint32_t flags)
{
    struct share_inode *s = share_inode_of(old_dir);
    const struct share_request_head head = {
        .op = SHARE_RENAME,
        .handle = s->handle,
        .handle2 = share_inode_of(new_dir)->handle,
        .flags = flags,
    };
    struct share_answer answer = {.data = NULL};

    return share_ask(s->fs, &head, dentry_name(old), name.text, name.size, &answer);
}

int share_rename(struct dentry *old_dir, struct dentry *old, struct dentry *new_dir,
                 struct name name, struct dentry *replaced)
{
    return rename_it(old_dir, old, new_dir, name, replaced ? 0 : RENAME_NOREPLACE);
}

int share_exchange(struct dentry *a_dir, struct dentry *a, struct dentry *b_dir, struct dentry *b)
{
    return rename_it(a_dir, a, b_dir, dentry_name(b), RENAME_EXCHANGE);
}

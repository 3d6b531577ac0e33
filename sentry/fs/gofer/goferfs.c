#include "sentry/fs/gofer/goferfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/vfs/file.h"

static const struct inode_operations gofer_operations;

static struct gofer_inode *gofer_inode_of(struct inode *inode)
{
    return container_of(inode, struct gofer_inode, inode);
}

/* `target` is the symbolic link's, or NULL. */
static struct inode *inode_new(const struct gofer_entry *entry, const char *target)
{
    struct gofer_inode *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->target = target ? strdup(target) : NULL;
    if (target && !g->target) {
        free(g);
        return NULL;
    }
    inode_init(&g->inode, &gofer_operations, entry->stat.st_mode, entry->stat.st_dev,
               entry->stat.st_ino);
    lock_init(&g->lock);
    g->stat = entry->stat;
    return &g->inode;
}

static void gofer_inode_release(struct inode *inode)
{
    struct gofer_inode *g = gofer_inode_of(inode);

    free(g->target);
    lock_destroy(&g->lock);
    free(g);
}

static void gofer_refresh(struct inode *inode, struct inode *fresh)
{
    struct gofer_inode *g = gofer_inode_of(inode), *from = gofer_inode_of(fresh);
    char *target;

    /* Nobody else has `fresh`. */
    lock_acquire(&g->lock);
    g->stat = from->stat;
    target = g->target;
    g->target = from->target;
    lock_release(&g->lock);
    from->target = target;
}

static uint32_t depth_of(struct dentry *dentry)
{
    uint32_t depth = 0;

    for (; dentry->parent; dentry = dentry->parent)
        depth++;
    return depth;
}

/* The path of `dentry` into the request. */
static int start_request(struct dentry *dentry, enum gofer_op op, struct gofer_request *req)
{
    ssize_t length = dentry_path(dentry, req->path, sizeof(req->path));

    if (length < 0)
        return (int)length;
    req->head = (struct gofer_request_head){.op = op, .path_size = (uint32_t)length};
    return 0;
}

/* Appends a name to the request's path; false: no room. */
static bool append_name(struct gofer_request *req, struct name name)
{
    size_t size = req->head.path_size, slash = size ? 1 : 0;

    if (size + slash + name.size > GOFER_PATH_MAX)
        return false;
    if (slash)
        req->path[size] = '/';
    memcpy(req->path + size + slash, name.text, name.size);
    req->head.path_size += (uint32_t)(slash + name.size);
    return true;
}

static int gofer_lookup(struct dentry *dir, const struct name *names, int count,
                        struct inode **ret_inodes, int *ret_error)
{
    struct gofer_request req;
    struct gofer_reply reply;
    uint32_t found;
    int err, asked = 0;

    err = start_request(dir, GOFER_WALK, &req);
    if (err < 0)
        return err;
    req.head.skip = depth_of(dir);
    while (asked < MIN(count, GOFER_WALK_MAX) && append_name(&req, names[asked]))
        asked++;
    if (asked == 0)
        return -ENAMETOOLONG;
    err = gofer_ask(goferfs_of(dir)->client, &req, &reply, NULL);
    if (err < 0)
        return err;
    found = MIN(reply.head.count, (uint32_t)asked);
    for (uint32_t i = 0; i < found; i++) {
        bool link = i + 1 == found && S_ISLNK(reply.entries[i].stat.st_mode);

        ret_inodes[i] = inode_new(&reply.entries[i], link ? reply.target : NULL);
        if (!ret_inodes[i]) {
            while (i-- > 0)
                inode_unref(ret_inodes[i]);
            return -ENOMEM;
        }
    }
    *ret_error = reply.head.error;
    if (found == 0 && *ret_error == 0)
        return -EIO;
    return (int)found;
}

int gofer_ask_about(struct dentry *dentry, enum gofer_op op, uint32_t mode,
                    struct gofer_reply *ret_reply, int *ret_fd)
{
    struct gofer_request req;
    int err = start_request(dentry, op, &req);

    if (err < 0)
        return err;
    req.head.mode = mode;
    if (op == GOFER_WALK && dentry->parent)
        req.head.skip = depth_of(dentry) - 1;
    err = gofer_ask(goferfs_of(dentry)->client, &req, ret_reply, ret_fd);
    return err < 0 ? err : ret_reply->head.error;
}

static ssize_t gofer_readlink(struct dentry *link, char *buf, size_t size)
{
    struct gofer_inode *g = gofer_inode_of(link->inode);
    ssize_t length = -EINVAL;

    lock_acquire(&g->lock);
    if (g->target) {
        length = (ssize_t)strlen(g->target);
        if ((size_t)length >= size)
            length = -ENAMETOOLONG;
        else
            memcpy(buf, g->target, (size_t)length + 1);
    }
    lock_release(&g->lock);
    return length;
}

static int gofer_open(struct dentry *dentry, uint32_t flags, struct file **ret)
{
    struct gofer_reply reply;
    int fd = -1, err;

    err = gofer_ask_about(dentry, GOFER_OPEN, 0, &reply, &fd);
    if (err < 0)
        return err;
    return gofer_file_create(dentry, fd, flags, ret);
}

static int gofer_stat(struct dentry *dentry, bool fresh, struct linux_stat *ret)
{
    struct gofer_inode *g = gofer_inode_of(dentry->inode);
    struct gofer_reply reply;

    /* Where the name leads elsewhere now, what was last known of the object stands. */
    if (!fresh && gofer_ask_about(dentry, GOFER_WALK, 0, &reply, NULL) == 0 &&
        reply.head.count == 1 && reply.entries[0].stat.st_ino == dentry->inode->ino &&
        reply.entries[0].stat.st_dev == dentry->inode->dev) {
        *ret = reply.entries[0].stat;
        return 0;
    }
    lock_acquire(&g->lock);
    *ret = g->stat;
    lock_release(&g->lock);
    return 0;
}

static int gofer_statfs(struct dentry *dentry, struct linux_statfs *ret)
{
    struct gofer_reply reply;
    int err = gofer_ask_about(dentry, GOFER_STATFS, 0, &reply, NULL);

    if (!err)
        *ret = reply.statfs;
    return err;
}

static int gofer_access(struct dentry *dentry, int mode)
{
    struct gofer_reply reply;

    return gofer_ask_about(dentry, GOFER_ACCESS, (uint32_t)mode, &reply, NULL);
}

static const struct inode_operations gofer_operations = {
    .lookup = gofer_lookup,
    .refresh = gofer_refresh,
    .readlink = gofer_readlink,
    .open = gofer_open,
    .stat = gofer_stat,
    .statfs = gofer_statfs,
    .access = gofer_access,
    .release = gofer_inode_release,
};

static void gofer_super_release(struct super_block *sb)
{
    free(container_of(sb, struct goferfs, sb));
}

int goferfs_create(struct gofer_client *client, struct memfile *memfile, struct super_block **ret)
{
    struct gofer_request req = {.head.op = GOFER_WALK};
    struct gofer_reply reply;
    struct inode *root;
    struct goferfs *fs;
    int err;

    err = gofer_ask(client, &req, &reply, NULL);
    if (!err &&
        (reply.head.error || reply.head.count != 1 || !S_ISDIR(reply.entries[0].stat.st_mode)))
        err = reply.head.error ? reply.head.error : -EIO;
    if (err < 0)
        return err;
    fs = calloc(1, sizeof(*fs));
    root = fs ? inode_new(&reply.entries[0], NULL) : NULL;
    if (!root || super_init(&fs->sb, root, gofer_super_release) < 0) {
        inode_unref(root);
        free(fs);
        return -ENOMEM;
    }
    fs->sb.type = "gofer";
    fs->sb.read_only = true;
    fs->client = client;
    fs->memfile = memfile;
    *ret = &fs->sb;
    return 0;
}

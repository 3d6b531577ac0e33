/*
 * libFuzzer target: any bytes as what a share answers, to a file system that looks names up, makes,
 * links, moves and removes things, opens them and asks for all that there is to ask. Whatever
 * comes, it survives, calls end with a result or an error, what is an object of one kind stays of
 * that kind, and no descriptor is left open at the end.
 *
 * The input is a row of replies, each begun by struct form; the conversation ends with the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "host/message.h"
#include "host/share_protocol.h"
#include "platform/memfile.h"
#include "sentry/fs/share/share.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/attr/acl.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"
#include "tests/fuzz/fuzz.h"

#define REPLIES_MAX 60

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What precedes a reply: either so many raw bytes follow, or it is made from the description. */
struct form {
    uint8_t raw_size; /* 255: make one */
    uint8_t passed;
    uint8_t error;
    uint8_t handle;
    uint8_t type; /* of the object; which ACLs it has */
    uint8_t number;
    uint8_t data_size; /* of text that is made: 255 is as much as there can be */
    uint8_t size;      /* of an attribute */
};

static struct memfile *memfile;

/* False when the socket takes no more. */
static bool send_raw(int socket, const void *bytes, size_t size, int passed)
{
    struct iovec iov = {(void *)bytes, size};
    int fds[HOST_PASSED_MAX], err;

    for (int i = 0; i < passed; i++)
        fds[i] = socket; /* anything that is open */
    err = host_send_passing(socket, &iov, 1, fds, passed);

    CHECK(err == 0 || err == -EAGAIN);
    return err == 0;
}

static bool send_made(int socket, const struct form *form)
{
    static const uint32_t types[] = {S_IFDIR,  S_IFREG, S_IFLNK, S_IFIFO,
                                     S_IFSOCK, S_IFCHR, 0,       S_IFMT};
    static struct share_reply reply;
    uint32_t size = form->data_size == 255 ? SHARE_DATA_MAX : form->data_size;

    reply.head = (struct share_reply_head){
        .error = -(int32_t)form->error,
        .handle = form->handle,
        .data_size = size,
        .acls = form->type >> 4,
        .size = form->size == 255 ? UINT64_MAX : form->size,
    };
    reply.head.stat.st_mode = types[form->type & 7] | 0755;
    reply.head.stat.st_ino = 1 + form->number;
    memset(reply.data, 't', size);
    return send_raw(socket, &reply, sizeof(reply.head) + size, form->passed % 3);
}

static void send_all(int socket, const uint8_t *data, size_t size)
{
    bool more = true;

    for (int i = 0; more && i < REPLIES_MAX && size > sizeof(struct form); i++) {
        struct form form;
        size_t raw;

        memcpy(&form, data, sizeof(form));
        data += sizeof(form);
        size -= sizeof(form);
        if (form.raw_size == 0xff) {
            more = send_made(socket, &form);
            continue;
        }
        raw = MIN(form.raw_size, size);
        if (raw > 0)
            more = send_raw(socket, data, raw, form.passed % 3);
        data += raw;
        size -= raw;
    }
}

static void use_file(struct dentry *dentry)
{
    struct mappable *object;
    struct linux_stat st;
    struct file *file;

    if (dentry->inode->ops->open(dentry, O_RDWR, &file) < 0)
        return;
    file->at.dentry = dentry_ref(dentry);
    file->ops->stat(file, &st);
    if (file->ops->mmap && file->ops->mmap(file, &object) == 0)
        mappable_unref(object);
    if (file->ops->truncate)
        file->ops->truncate(file, 5);
    if (file->ops->llseek)
        file->ops->llseek(file, 0, SEEK_HOLE, 0);
    file_unref(file);
}

static void use_attributes(struct dentry *dentry)
{
    const struct inode_operations *ops = dentry->inode->ops;
    static char value[SHARE_DATA_MAX];
    struct acl *acl = NULL;
    uint64_t known = 0;
    struct timespec birth;

    CHECK(ops->getxattr(dentry, "user.x", value, 20) <= 20);
    CHECK(ops->getxattr(dentry, "user.x", NULL, 0) <= SHARE_DATA_MAX);
    CHECK(ops->listxattr(dentry, true, value, sizeof(value)) <= SHARE_DATA_MAX);
    ops->setxattr(dentry, "user.x", "x", 1, 0);
    if (ops->get_acl(dentry->inode, dentry, ACL_DEFAULT, &acl) == 0)
        free(acl);
    ops->birth(dentry, &birth);
    ops->attributes(dentry, &known);
}

static void use(struct dentry *dentry)
{
    const struct inode_operations *ops = dentry->inode->ops;
    const struct inode_attr attr = {.mask = ATTR_MODE | ATTR_MTIME, .mode = 0600};
    uint32_t type = inode_type(dentry->inode);
    struct linux_statfs fs;
    struct linux_stat st;
    char target[4096];
    int fd;

    ops->stat(dentry, true, &st);
    CHECK((st.st_mode & S_IFMT) == type);
    if (ops->stat(dentry, false, &st) == 0)
        CHECK((st.st_mode & S_IFMT) == type);
    ops->statfs(dentry, &fs);
    ops->setattr(dentry, &attr);
    if (type == S_IFLNK && ops->readlink(dentry, target, sizeof(target)) >= 0)
        CHECK(strlen(target) < sizeof(target));
    if (type == S_IFREG || type == S_IFDIR)
        use_file(dentry);
    if (type == S_IFSOCK && ops->connect(dentry, SOCK_STREAM, &fd) == 0)
        close(fd);
    use_attributes(dentry);
    CHECK(inode_type(dentry->inode) == type);
}

/* Looks a name up, or finds it again. */
static struct dentry *look(struct dentry *dir, struct name name)
{
    struct inode *inode = NULL;
    struct dentry *child = NULL;
    int error = 0, found = dir->inode->ops->lookup(dir, &name, 1, &inode, &error);

    CHECK(found <= 1 && found > -4096 && error <= 0 && (found != 0 || error != 0));
    if (found == 1) {
        child = dentry_attach(dir, name, inode);
        CHECK(child);
    }
    return child;
}

/* Makes one object of a kind, uses it, moves it and takes it away. */
static void make(struct dentry *dir, uint32_t type)
{
    const struct inode_operations *ops = dir->inode->ops;
    const struct name name = {"new", 3}, other = {"other", 5};
    const struct inode_make how = {.mode = type | 0700,
                                   .target = type == S_IFLNK ? "target" : NULL};
    struct inode *inode = NULL;
    struct dentry *made;

    if (ops->make(dir, name, &how, &inode) < 0)
        return;
    CHECK(inode_type(inode) == type);
    made = dentry_attach(dir, name, inode);
    CHECK(made);
    use(made);
    ops->link(dir, other, made);
    ops->rename(dir, made, dir, other, NULL);
    ops->remove(dir, made);
    dentry_unref(made);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    CHECK(memfile_create(1UL << 30, &memfile) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct name names[] = {{"a", 1}, {"bb", 2}};
    int pair[2], before = dup(0), after;
    struct share_config config = {.memfile = memfile};
    struct super_block *sb;

    close(before);
    log_setup(-1, LEVEL_ERROR);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(fcntl(pair[1], F_SETFL, O_NONBLOCK) == 0);
    config.socket = pair[0];
    send_all(pair[1], data, size);
    shutdown(pair[1], SHUT_WR);
    if (share_create(&config, &sb) == 0) {
        use(sb->root);
        for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
            struct dentry *child = look(sb->root, names[i]), *again = look(sb->root, names[i]);

            if (child)
                use(child);
            dentry_unref(again);
            dentry_unref(child);
        }
        make(sb->root, S_IFREG);
        make(sb->root, S_IFDIR);
        make(sb->root, S_IFLNK);
        super_unref(sb);
    }
    close(pair[1]);
    after = dup(0);
    close(after);
    CHECK(before == after);
    return 0;
}

/*
 * libFuzzer target: any bytes as what a gofer answers, to a file system that looks names up, opens,
 * reads links and asks for permission. Whatever comes, it survives, calls end with a result or an
 * error, and no descriptor is left open at the end.
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
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/goferfs.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"
#include "tests/fuzz/fuzz.h"

#define REPLIES_MAX 24

/* What precedes a reply: either so many raw bytes follow, or it is made from the description. */
struct form {
    uint8_t raw_size; /* 255: make one */
    uint8_t passed;
    uint8_t error;
    uint8_t count;
    uint8_t target_size;
    uint8_t types;   /* two bits each: what the last four entries are */
    uint8_t numbers; /* of the inodes; and times */
};

static void send_raw(int socket, const void *bytes, size_t size, int passed)
{
    struct iovec iov = {(void *)bytes, size};
    int fds[HOST_PASSED_MAX];

    for (int i = 0; i < passed; i++)
        fds[i] = socket; /* anything that is open */
    CHECK(host_send_passing(socket, &iov, 1, fds, passed) == 0);
}

static void send_made(int socket, const struct form *form)
{
    static const uint32_t types[] = {S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO};
    struct gofer_reply reply = {0};
    uint32_t count = form->count % (GOFER_WALK_MAX + 2);
    size_t entries = count * sizeof(struct gofer_entry);
    struct gofer_entry *all = calloc(count + 1, sizeof(*all));
    char *message = malloc(sizeof(reply) + sizeof(*all));

    CHECK(all && message);
    reply.head = (struct gofer_reply_head){
        .error = -(int32_t)form->error, .count = count, .target_size = form->target_size};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t from_end = MIN(count - 1 - i, 3U);
        struct linux_stat *st = &all[i].stat;

        st->st_mode = types[form->types >> (2 * from_end) & 3] | 0755;
        st->st_ino = 1 + i + (form->numbers & 3);
        st->st_ctime_sec = form->numbers >> 2;
    }
    memcpy(message, &reply.head, sizeof(reply.head));
    memcpy(message + sizeof(reply.head), all, entries);
    memset(message + sizeof(reply.head) + entries, 't', form->target_size);
    send_raw(socket, message, sizeof(reply.head) + entries + form->target_size,
             form->passed == 0xff ? (int)MIN(count, (uint32_t)HOST_PASSED_MAX)
                                  : form->passed % (HOST_PASSED_MAX + 1));
    free(message);
    free(all);
}

static void send_all(int socket, const uint8_t *data, size_t size)
{
    for (int i = 0; i < REPLIES_MAX && size > sizeof(struct form); i++) {
        struct form form;
        size_t raw;

        memcpy(&form, data, sizeof(form));
        data += sizeof(form);
        size -= sizeof(form);
        if (form.raw_size == 0xff) {
            send_made(socket, &form);
            continue;
        }
        raw = MIN(form.raw_size, size);
        if (raw > 0)
            send_raw(socket, data, raw, form.passed % (HOST_PASSED_MAX + 1));
        data += raw;
        size -= raw;
    }
}

static void use(struct dentry *dentry)
{
    const struct inode_operations *ops = dentry->inode->ops;
    struct linux_statfs fs;
    struct linux_stat st;
    char target[4096];
    struct file *file;

    ops->stat(dentry, false, &st);
    ops->statfs(dentry, &fs);
    ops->access(dentry, R_OK);
    if (ops->readlink(dentry, target, sizeof(target)) >= 0)
        CHECK(strlen(target) < sizeof(target));
    for (int i = 0; i < 2; i++) {
        if (inode_type(dentry->inode) != S_IFLNK && ops->open(dentry, O_RDONLY, &file) == 0)
            file_unref(file);
    }
}

/* Looks a path of three names up below `dir`, and uses what is there. */
static void look(struct dentry *dir, int count)
{
    const struct name names[] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
    struct inode *inodes[3] = {NULL};
    struct dentry *at = dentry_ref(dir);
    int error = 0, found;

    found = dir->inode->ops->lookup(dir, names, count, inodes, &error);
    CHECK(found <= count && found > -4096 && error <= 0 && (found != 0 || error != 0));
    for (int i = 0; i < found; i++) {
        struct dentry *child;

        CHECK(i + 1 == found || inode_type(inodes[i]) == S_IFDIR);
        child = dentry_attach(at, names[i], inodes[i]);
        CHECK(child);
        dentry_unref(at);
        at = child;
    }
    use(at);
    dentry_unref(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2], before = dup(0), after;
    struct goferfs_config config = {
        .exclusive = size > 0 && (data[0] & 1), .cache_bytes = 2048, .handle_limit = 3};
    struct super_block *sb;

    close(before);
    log_setup(-1, LEVEL_ERROR);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK(gofer_client_create(pair[0], &config.client) == 0);
    if (size > 0)
        send_all(pair[1], data + 1, size - 1);
    shutdown(pair[1], SHUT_WR);
    if (goferfs_create(&config, &sb) == 0) {
        for (int count = 3; count > 0; count--)
            look(sb->root, count);
        super_unref(sb);
    }
    gofer_client_destroy(config.client);
    close(pair[1]);
    after = dup(0);
    close(after);
    CHECK(before == after);
    return 0;
}

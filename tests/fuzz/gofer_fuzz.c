/*
 * libFuzzer target: any bytes as the requests that a gofer serves. Whatever comes, the answer is
 * one that the protocol allows, no descriptor is left open, and nothing outside the tree is told of
 * or donated.
 *
 * The input is a row of messages: two bytes of size, one of which the top bit asks for a right
 * path_size, then the message.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gofer/gofer.h"
#include "host/gofer_protocol.h"
#include "host/message.h"
#include "host/path.h"
#include "tests/fuzz/fuzz.h"

#define TREE_OBJECTS_MAX 16

int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct gofer gofer;
static int sentry; /* the other end */
static struct stat objects[TREE_OBJECTS_MAX];
static int object_count;

static void note(const char *name)
{
    CHECK(object_count < TREE_OBJECTS_MAX && lstat(name, &objects[object_count++]) == 0);
}

static void put_file(const char *name, mode_t mode)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_EXCL, mode);

    CHECK(fd >= 0 && write(fd, "hello\n", 6) == 6);
    close(fd);
}

/* Names are short, so that the fuzzer comes upon them. */
static void make_tree(const char *root)
{
    static const char *const names[] = {".", "a", "a/b", "a/b/f", "l", "o", "p", "s"};

    CHECK(chdir(root) == 0 && mkdir("a", 0755) == 0 && mkdir("a/b", 0755) == 0);
    put_file("a/b/f", 0644);
    put_file("s", 0);
    CHECK(symlink("a/b", "l") == 0 && symlink("/etc", "o") == 0 && mkfifo("p", 0644) == 0);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        note(names[i]);
}

static void remove_tree(void)
{
    static const char *const names[] = {"a/b/f", "l", "o", "p", "s"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        unlinkat(gofer.root, names[i], 0);
    unlinkat(gofer.root, "a/b", AT_REMOVEDIR);
    unlinkat(gofer.root, "a", AT_REMOVEDIR);
    CHECK(rmdir(getcwd((char[4096]){0}, 4096)) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char root[] = "/tmp/gofer-fuzz-XXXXXX";
    int pair[2];

    (void)argc;
    (void)argv;
    CHECK(mkdtemp(root));
    make_tree(root);
    gofer.root = host_open_root(root);
    gofer.proc_fds = host_open_proc_fds();
    CHECK(gofer.root >= 0 && gofer.proc_fds >= 0);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    gofer.socket = pair[0];
    sentry = pair[1];
    atexit(remove_tree);
    return 0;
}

static bool in_tree(uint64_t dev, uint64_t ino)
{
    for (int i = 0; i < object_count; i++)
        if (objects[i].st_dev == dev && objects[i].st_ino == ino)
            return true;
    return false;
}

static void check_reply(const struct gofer_request *req)
{
    enum gofer_op op = (enum gofer_op)req->head.op;
    int fds[HOST_PASSED_MAX], count = 0;
    struct gofer_reply reply;
    ssize_t n = host_receive_passing(sentry, &reply, sizeof(reply), HOST_PASSED_MAX, fds, &count);

    CHECK(n > 0 && gofer_reply_valid(&reply, (size_t)n, op));
    CHECK(gofer_reply_passed(&reply, op, req->head.mode) == (uint32_t)count);
    for (uint32_t i = 0; i < reply.head.count; i++)
        CHECK(in_tree(reply.entries[i].stat.st_dev, reply.entries[i].stat.st_ino));
    for (int i = 0; i < count; i++) {
        int flags = fcntl(fds[i], F_GETFL);
        struct stat st;

        CHECK(fstat(fds[i], &st) == 0 && in_tree(st.st_dev, st.st_ino));
        CHECK((flags & O_ACCMODE) == O_RDONLY);
        /* What a walk ends at may come open, if opening it does nothing. */
        if (op == GOFER_WALK)
            CHECK((flags & O_PATH) || S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
        else
            CHECK(!S_ISFIFO(st.st_mode));
        close(fds[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int free_before = dup(gofer.root), free_after;

    close(free_before);
    while (size > 2) {
        struct gofer_request req, asked;
        size_t length = (size_t)(data[0] | (data[1] & 0x7f) << 8);
        bool right = data[1] & 0x80;

        data += 2;
        size -= 2;
        length = MIN(length, size);
        length = MIN(length, sizeof(req));
        memset(&req, 'x', sizeof(req));
        memcpy(&req, data, length);
        if (right && length >= sizeof(req.head))
            req.head.path_size = (uint32_t)(length - sizeof(req.head));
        asked = req;
        if (gofer_serve(&gofer, &req, length) == 0)
            check_reply(&asked);
        data += length;
        size -= length;
    }
    free_after = dup(gofer.root);
    close(free_after);
    CHECK(free_before == free_after);
    return 0;
}

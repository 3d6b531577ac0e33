/*
 * libFuzzer target: any bytes as the requests that a share serves, which changes its folder.
 * Whatever comes, the answer is one that the protocol allows, what is donated lies inside, nothing
 * outside changes, and what the handles stood for is closed once they are given back.
 *
 * The input is a row of messages: two bytes of size, one of which the top bit asks for a right
 * data_size, then the message.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gofer/gofer.h"
#include "host/change.h"
#include "host/message.h"
#include "host/path.h"
#include "host/share_protocol.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "promise broken: %s (errno %d)\n", #cond, errno);                      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gofer gofer;
static int sentry; /* the other end */
static char base[] = "/tmp/share-fuzz-XXXXXX";
static struct stat secret, outside;

static void path_of(char *buf, const char *name)
{
    snprintf(buf, 64, "%s/%s", base, name);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_all(void)
{
    nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put_file(const char *name, const char *text)
{
    char path[64];
    int fd;

    path_of(path, name);
    fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* Names are short, so that the fuzzer comes upon them. */
static void make_folder(void)
{
    char path[64];

    path_of(path, "in");
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    CHECK(mkdir(path, 0755) == 0);
    path_of(path, "in/a");
    CHECK(mkdir(path, 0755) == 0);
    put_file("in/f", "hello");
    put_file("in/a/g", "there");
    path_of(path, "in/l");
    CHECK(symlink("../secret", path) == 0);
    path_of(path, "in/p");
    CHECK(mkfifo(path, 0644) == 0);
    path_of(path, "in");
    gofer.root = host_open_root(path);
    CHECK(gofer.root >= 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int pair[2];

    CHECK(mkdtemp(base));
    put_file("secret", "not yours");
    gofer.proc_fds = host_open_proc_fds();
    gofer.writable = true;
    CHECK(gofer.proc_fds >= 0 && host_enter_proc_fds(gofer.proc_fds) == 0);
    host_clear_umask();
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    gofer.socket = pair[0];
    sentry = pair[1];
    atexit(remove_all);
    return 0;
}

static void check_outside(void)
{
    struct stat now;
    char path[64];

    path_of(path, "secret");
    CHECK(stat(path, &now) == 0);
    CHECK(now.st_ino == secret.st_ino && now.st_size == 9 && now.st_mode == secret.st_mode);
    CHECK(now.st_nlink == 1 && now.st_uid == secret.st_uid);
    CHECK(now.st_ctim.tv_sec == secret.st_ctim.tv_sec &&
          now.st_ctim.tv_nsec == secret.st_ctim.tv_nsec);
    CHECK(stat(base, &now) == 0);
    CHECK(now.st_mtim.tv_sec == outside.st_mtim.tv_sec &&
          now.st_mtim.tv_nsec == outside.st_mtim.tv_nsec);
}

static struct share_reply reply;
static uint32_t last_handle;

static void check_reply(const struct share_request_head *asked)
{
    int passed = -1;
    ssize_t n = host_receive_message(sentry, &reply, sizeof(reply), &passed);
    struct stat st;

    CHECK(n > 0 && share_reply_valid(&reply, (size_t)n));
    CHECK((passed >= 0) == (asked->op == SHARE_OPEN && reply.head.error == 0));
    last_handle = MAX(last_handle, reply.head.error ? 0 : reply.head.handle);
    if (passed < 0)
        return;
    CHECK(fstat(passed, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)));
    CHECK(st.st_ino != secret.st_ino && st.st_ino != outside.st_ino);
    close(passed);
}

static void give_all_back(void)
{
    for (uint32_t handle = 1; handle <= last_handle; handle++) {
        struct share_request req = {.head = {.op = SHARE_FORGET, .handle = handle}};

        CHECK(share_serve(&gofer, &req, sizeof(req.head)) == 0);
        check_reply(&req.head);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct share_request req;
    int free_before = dup(sentry), free_after;
    char path[64];

    close(free_before);
    make_folder();
    path_of(path, "secret");
    CHECK(stat(path, &secret) == 0 && stat(base, &outside) == 0);
    while (size > 2) {
        struct share_request_head asked;
        size_t length = (size_t)(data[0] | (data[1] & 0x7f) << 8);
        bool right = data[1] & 0x80;

        data += 2;
        size -= 2;
        length = MIN(length, size);
        length = MIN(length, sizeof(req) - 1);
        memset(&req.head, 0, sizeof(req.head));
        memcpy(&req, data, length);
        if (right && length >= sizeof(req.head) + req.head.name_size)
            req.head.data_size = (uint32_t)(length - sizeof(req.head) - req.head.name_size);
        asked = req.head;
        if (share_serve(&gofer, &req, length) == 0)
            check_reply(&asked);
        data += length;
        size -= length;
    }
    give_all_back();
    last_handle = 0;
    close(gofer.root);
    check_outside();
    free_after = dup(sentry);
    close(free_after);
    CHECK(free_before == free_after);
    return 0;
}

/*
 * A share's protocol: what the checks accept, and what a hostile Sentry gets from a real share that
 * serves a small folder with secrets around it.
 */
#include <errno.h>
#include <sys/stat.h>

#include "host/io.h"
#include "tests/unit/share_make.h"

static void start(bool writable)
{
    struct gofer_config config = {.root = "folder", .share = true, .writable = writable};

    enter_folder();
    put_file("secret", "not yours");
    mkdir("folder", 0755);
    mkdir("folder/sub", 0755);
    put_file("folder/file", "hello");
    cr_assert_eq(symlink("../secret", "folder/out"), 0);
    cr_assert_eq(mkfifo("folder/fifo", 0644), 0);
    start_server(&config);
}

static void setup(void)
{
    start(true);
}

static void setup_read_only(void)
{
    start(false);
}

static void teardown(void)
{
    end_server();
}

static uint32_t look_up(const char *name)
{
    cr_assert_eq(ask((struct share_request_head){.op = SHARE_LOOKUP}, name, "", NULL), 0);
    cr_assert_neq(reply.head.handle, 0);
    return reply.head.handle;
}

TestSuite(share, .init = setup, .fini = teardown, .timeout = 20);
TestSuite(share_read_only, .init = setup_read_only, .fini = teardown, .timeout = 20);

Test(share, finds_opens_and_changes)
{
    uint32_t file = look_up("file");
    char text[8] = "";
    int fd = -1;

    cr_expect_eq(reply.head.stat.st_size, 5);
    cr_assert_eq(ask((struct share_request_head){.op = SHARE_OPEN, .handle = file, .flags = O_RDWR},
                     "", "", &fd),
                 0);
    cr_expect_eq(pwrite(fd, "J", 1, 0), 1);
    cr_expect_eq(pread(fd, text, 7, 0), 5);
    cr_expect_str_eq(text, "Jello");
    close(fd);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_MAKE,
                                                 .mode = S_IFDIR | 0700,
                                                 .uid = geteuid(),
                                                 .gid = getegid()},
                     "new", "", NULL),
                 0);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_RENAME}, "new", "newer", NULL), 0);
    cr_expect_eq(access("folder/newer", F_OK), 0);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_REMOVE, .flags = AT_REMOVEDIR},
                     "newer", "", NULL),
                 0);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_SETATTR,
                                                 .handle = file,
                                                 .mask = SHARE_ATTR_SIZE | SHARE_ATTR_MODE,
                                                 .size = 2,
                                                 .mode = 0600},
                     "", "", NULL),
                 0);
    cr_expect_eq(reply.head.stat.st_size, 2);
    cr_expect_eq(reply.head.stat.st_mode, S_IFREG | 0600);
}

Test(share, known_objects_get_no_second_handle)
{
    struct share_request_head head = {.op = SHARE_LOOKUP};

    look_up("file");
    head.known_dev = reply.head.stat.st_dev;
    head.known_ino = reply.head.stat.st_ino;
    cr_expect_eq(ask(head, "file", "", NULL), 0);
    cr_expect_eq(reply.head.handle, 0);
}

Test(share, leads_nowhere_else)
{
    uint32_t link = look_up("out");
    int fd = -1;

    cr_expect(S_ISLNK(reply.head.stat.st_mode));
    cr_expect_str_eq(reply.data, "../secret");
    cr_expect_lt(ask((struct share_request_head){.op = SHARE_OPEN, .handle = link}, "", "", &fd),
                 0);
    cr_expect_eq(fd, -1);
    /* Through a link, and through what is no folder. */
    cr_expect_lt(
        ask((struct share_request_head){.op = SHARE_LOOKUP, .handle = link}, "secret", "", NULL),
        0);
    cr_expect_lt(
        ask((struct share_request_head){.op = SHARE_MAKE, .handle = link, .mode = S_IFREG | 0600},
            "x", "", NULL),
        0);
    /* No device is opened, and no FIFO, which would block. */
    cr_expect_lt(
        ask((struct share_request_head){.op = SHARE_OPEN, .handle = look_up("fifo")}, "", "", &fd),
        0);
    cr_expect_lt(
        ask((struct share_request_head){.op = SHARE_MAKE, .mode = S_IFBLK | 0600}, "b", "", NULL),
        0);
    cr_expect_eq(access("x", F_OK), -1);
}

Test(share, handles_are_not_guessed)
{
    uint32_t file = look_up("file");

    for (uint32_t handle = 1; handle < 200; handle++) {
        if (handle != file)
            cr_expect_eq(
                ask((struct share_request_head){.op = SHARE_STAT, .handle = handle}, "", "", NULL),
                -EBADF);
    }
    cr_expect_eq(
        ask((struct share_request_head){.op = SHARE_STAT, .handle = UINT32_MAX}, "", "", NULL),
        -EBADF);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_FORGET, .handle = file}, "", "", NULL),
                 0);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_FORGET, .handle = file}, "", "", NULL),
                 -EBADF);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_STAT, .handle = file}, "", "", NULL),
                 -EBADF);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_FORGET}, "", "", NULL), -EBADF);
}

Test(share_read_only, changes_nothing)
{
    uint32_t file = look_up("file"), sub = look_up("sub");
    int fd = -1;

    cr_expect_eq(ask((struct share_request_head){.op = SHARE_OPEN, .handle = file, .flags = O_RDWR},
                     "", "", &fd),
                 -EROFS);
    cr_expect_eq(
        ask((struct share_request_head){.op = SHARE_MAKE, .mode = S_IFREG | 0600}, "n", "", NULL),
        -EROFS);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_REMOVE}, "file", "", NULL), -EROFS);
    cr_expect_eq(
        ask((struct share_request_head){.op = SHARE_RENAME, .handle2 = sub}, "file", "f", NULL),
        -EROFS);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_LINK, .handle = file}, "l", "", NULL),
                 -EROFS);
    cr_expect_eq(ask((struct share_request_head){.op = SHARE_SETATTR,
                                                 .handle = file,
                                                 .mask = SHARE_ATTR_MODE},
                     "", "", NULL),
                 -EROFS);
    cr_expect_eq(
        ask((struct share_request_head){.op = SHARE_SETXATTR, .handle = file}, "user.x", "v", NULL),
        -EROFS);
    cr_expect_eq(
        ask((struct share_request_head){.op = SHARE_OPEN, .handle = file, .flags = O_RDONLY}, "",
            "", &fd),
        0);
    cr_expect_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
}

/* ---- what is no request ends the conversation ---------------------------------------------- */

static bool valid(uint32_t op, const char *name, const char *data, size_t missing)
{
    static struct share_request req;
    size_t size = sizeof(req.head) + strlen(name) + strlen(data);

    memset(&req, 0, sizeof(req));
    req.head.op = op;
    req.head.name_size = (uint32_t)strlen(name);
    req.head.data_size = (uint32_t)strlen(data);
    memcpy(req.bytes, name, req.head.name_size);
    memcpy(req.bytes + req.head.name_size, data, req.head.data_size);
    return share_request_valid(&req, size - missing);
}

Test(share_protocol, names_are_single_components)
{
    char long_name[300];

    memset(long_name, 'n', sizeof(long_name));
    long_name[255] = '\0';
    cr_expect(valid(SHARE_LOOKUP, "name", "", 0));
    cr_expect(valid(SHARE_LOOKUP, "...", "", 0));
    cr_expect(valid(SHARE_LOOKUP, long_name, "", 0));
    cr_expect_not(valid(SHARE_LOOKUP, "", "", 0));
    cr_expect_not(valid(SHARE_LOOKUP, ".", "", 0));
    cr_expect_not(valid(SHARE_LOOKUP, "..", "", 0));
    cr_expect_not(valid(SHARE_MAKE, "a/b", "", 0));
    cr_expect_not(valid(SHARE_REMOVE, "/", "", 0));
    cr_expect(valid(SHARE_RENAME, "a", "b", 0));
    cr_expect_not(valid(SHARE_RENAME, "a", "..", 0));
    cr_expect_not(valid(SHARE_RENAME, "a", "", 0));
    cr_expect_not(valid(SHARE_RENAME, "a", "b/c", 0));
    cr_expect_not(valid(SHARE_LOOKUP, "name", "", 1));
    cr_expect_not(valid(0, "name", "", 0));
    cr_expect_not(valid(SHARE_OP_END, "name", "", 0));
}

Test(share_protocol, sizes_are_checked)
{
    struct share_request req = {.head = {.op = SHARE_SETXATTR, .data_size = SHARE_DATA_MAX + 1}};

    cr_expect_not(share_request_valid(&req, sizeof(req.head) + SHARE_DATA_MAX + 1));
    req.head = (struct share_request_head){.op = SHARE_LOOKUP, .name_size = UINT32_MAX};
    cr_expect_not(share_request_valid(&req, sizeof(req.head)));
    req.head = (struct share_request_head){.op = SHARE_SETATTR, .size = 1UL << 63};
    cr_expect_not(share_request_valid(&req, sizeof(req.head)));
    cr_expect_not(share_request_valid(&req, 8));
    reply.head = (struct share_reply_head){.data_size = SHARE_DATA_MAX + 1};
    cr_expect_not(share_reply_valid(&reply, sizeof(reply.head) + SHARE_DATA_MAX + 1));
    reply.head = (struct share_reply_head){.error = 1};
    cr_expect_not(share_reply_valid(&reply, sizeof(reply.head)));
}

/*
 * The Sentry's side of the host's tree over a real gofer: what is remembered, how much of it, and
 * many threads that look, open and list while the tree is changed under them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gofer/gofer.h"
#include "host/message.h"
#include "host/news.h"
#include "host/path.h"
#include "sentry/fs/gofer/client.h"
#include "sentry/fs/gofer/goferfs.h"
#include "sentry/fs/gofer/internal.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/dirent.h"
#include "sentry/vfs/file.h"

#define THREADS     4
#define ROUNDS      400
#define CACHE_BYTES 4096
#define HANDLES     4

static char base[] = "/tmp/goferfs-test-XXXXXX";
static struct gofer_client *client;
static struct super_block *root;
static pid_t gofer_pid;

static void put_file(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* A gofer without its jail, which would not let sanitizers work. */
static __noreturn void serve(int socket)
{
    static struct gofer_request req;
    struct gofer gofer = {
        .socket = socket, .root = host_open_root(base), .proc_fds = host_open_proc_fds()};
    ssize_t n;
    int passed;

    do {
        n = host_receive_message(socket, &req, sizeof(req), &passed);
    } while (n > 0 && gofer_serve(&gofer, &req, (size_t)n) == 0);
    _exit(0);
}

static void start_with(bool exclusive, size_t cache_bytes, uint32_t handle_limit)
{
    struct goferfs_config config = {
        .exclusive = exclusive, .cache_bytes = cache_bytes, .handle_limit = handle_limit};
    int pair[2];

    cr_assert(mkdtemp(base) && chdir(base) == 0);
    cr_assert(mkdir("a", 0755) == 0 && mkdir("a/b", 0755) == 0);
    put_file("a/b/c", "text");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    gofer_pid = fork();
    if (gofer_pid == 0) {
        close(pair[0]);
        serve(pair[1]);
    }
    close(pair[1]);
    cr_assert_eq(gofer_client_create(pair[0], &client), 0);
    config.client = client;
    cr_assert_eq(goferfs_create(&config, &root), 0);
}

static void start(bool exclusive)
{
    start_with(exclusive, CACHE_BYTES, HANDLES);
}

static void stop(void)
{
    char command[64];
    int status;

    super_unref(root);
    gofer_client_destroy(client);
    cr_expect_eq(waitpid(gofer_pid, &status, 0), gofer_pid);
    snprintf(command, sizeof(command), "rm -rf %s", base);
    cr_expect_eq(system(command), 0);
}

/* What `path` leads to, at most 8 names: a dentry, or NULL with the error in ret_error. */
static struct dentry *look_up(const char *path, int *ret_error)
{
    struct inode *inodes[8] = {NULL};
    struct name names[8];
    int count = 0, found;
    struct dentry *at;

    for (const char *end; *path; path = *end ? end + 1 : end) {
        end = strchrnul(path, '/');
        names[count++] = (struct name){path, (size_t)(end - path)};
    }
    *ret_error = 0;
    found = root->root->inode->ops->lookup(root->root, names, count, inodes, ret_error);
    if (found < 0)
        *ret_error = found;
    at = dentry_ref(root->root);
    for (int i = 0; i < found; i++) {
        struct dentry *child = dentry_attach(at, names[i], inodes[i]);

        cr_assert(child);
        dentry_unref(at);
        at = child;
    }
    return found == count ? at : dentry_unref(at);
}

static uint64_t number_of(const char *path)
{
    int error;
    struct dentry *d = look_up(path, &error);
    uint64_t ino = d ? d->inode->ino : 0;

    dentry_unref(d);
    return ino;
}

static uint64_t host_number_of(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? st.st_ino : 0;
}

/* Without the gofer, what is remembered is all there is. */
static void kill_gofer(void)
{
    kill(gofer_pid, SIGKILL);
}

/* Longer than the grain of times: what is looked up from now on may be remembered. */
static void let_times_pass(void)
{
    usleep(100 * 1000);
}

Test(goferfs, known_names_need_no_gofer, .timeout = 20)
{
    struct dentry *d;
    struct file *f = NULL;
    int error;

    start(false);
    let_times_pass();
    cr_assert_eq(number_of("a/b/c"), host_number_of("a/b/c"));
    cr_assert_eq(number_of("a/b/absent"), 0);
    d = look_up("a/b/c", &error);
    cr_assert(d && d->inode->ops->open(d, O_RDONLY, &f) == 0);
    file_unref(f);
    kill_gofer();
    cr_expect_eq(number_of("a/b/c"), host_number_of("a/b/c"));
    cr_expect_eq(number_of("a/b/absent"), 0);
    cr_expect_eq(d->inode->ops->open(d, O_RDONLY, &f), 0, "its descriptor is held");
    file_unref(f);
    cr_expect(!look_up("a/b/other", &error));
    cr_expect_eq(error, -EIO, "nothing is known of it");
    /* And what was known does not hold any more. */
    put_file("a/b/absent", "now");
    let_times_pass(); /* in the same tick the directory is not looked at again */
    cr_expect(!look_up("a/b/absent", &error));
    cr_expect_eq(error, -EIO);
    dentry_unref(d);
    stop();
}

Test(goferfs, exclusive_names_hold, .timeout = 20)
{
    int error;

    start(true);
    cr_assert_neq(number_of("a/b/c"), 0);
    cr_assert_eq(number_of("a/b/absent"), 0);
    kill_gofer();
    unlink("a/b/c");
    put_file("a/b/absent", "now");
    cr_expect_neq(number_of("a/b/c"), 0);
    cr_expect(!look_up("a/b/absent", &error));
    cr_expect_eq(error, -ENOENT);
    stop();
}

Test(goferfs, memory_and_descriptors_are_bounded, .timeout = 20)
{
    struct goferfs *fs;
    int before, after;

    start(false);
    fs = container_of(root, struct goferfs, sb);
    for (int i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof(name), "a/b/%d", i);
        put_file(name, "");
    }
    let_times_pass();
    before = dup(0);
    close(before);
    for (int i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof(name), "a/b/%d", i);
        cr_assert_eq(number_of(name), host_number_of(name));
        snprintf(name, sizeof(name), "a/b/absent-%d", i);
        cr_assert_eq(number_of(name), 0);
        cr_assert(fs->names.bytes <= CACHE_BYTES);
        cr_assert(fs->handles.count <= HANDLES);
    }
    after = dup(0);
    close(after);
    cr_expect(after <= before + HANDLES);
    cr_expect(fs->names.bytes > 0);
    stop();
}

#define LISTED 20

struct listed {
    struct dirent_sink sink;
    int count;
    char paths[LISTED][16];
};

static bool emit(struct dirent_sink *sink, const char *name, size_t size, uint64_t ino,
                 int64_t next, uint8_t type)
{
    struct listed *l = container_of(sink, struct listed, sink);

    if (name[0] != '.')
        snprintf(l->paths[l->count++], sizeof(l->paths[0]), "a/b/%.*s", (int)size, name);
    return l->count < LISTED;
}

static void list(const char *path, struct listed *ret)
{
    int error;
    struct dentry *d = look_up(path, &error);
    struct file *f = NULL;

    *ret = (struct listed){.sink.emit = emit};
    cr_assert(d && d->inode->ops->open(d, O_RDONLY | O_DIRECTORY, &f) == 0);
    f->at.dentry = d;
    cr_assert_eq(f->ops->getdents(f, &ret->sink, &f->pos), 0);
    file_unref(f);
}

Test(goferfs, listed_names_come_along, .timeout = 20)
{
    struct listed listed;
    int error;

    start_with(false, 1 << 20, 256);
    for (int i = 1; i < LISTED + 1; i++) {
        char name[16];

        snprintf(name, sizeof(name), "a/b/%d", i);
        put_file(name, "");
    }
    let_times_pass();
    list("a/b", &listed);
    cr_assert_eq(listed.count, LISTED);
    cr_expect_eq(number_of(listed.paths[0]), host_number_of(listed.paths[0]));
    kill_gofer();
    for (int i = 1; i < 8; i++)
        cr_expect_eq(number_of(listed.paths[i]), host_number_of(listed.paths[i]), "%d", i);
    cr_expect(!look_up(listed.paths[8], &error));
    cr_expect_eq(error, -EIO);
    /* And what came along holds no longer than what was asked for. */
    rename(listed.paths[1], listed.paths[2]);
    let_times_pass();
    cr_expect(!look_up(listed.paths[1], &error));
    cr_expect_eq(error, -EIO);
    stop();
}

/* Reads from its beginning. */
static void read_all(struct file *f, const char *want)
{
    char text[16] = "";
    struct uio uio;
    int64_t pos = 0;

    uio_init_host(&uio, text, sizeof(text));
    cr_assert_eq(f->ops->read(f, &uio, &pos), (ssize_t)strlen(want));
    cr_assert_str_eq(text, want);
}

static struct file *open_file(const char *path)
{
    int error;
    struct dentry *d = look_up(path, &error);
    struct file *f = NULL;

    cr_assert(d && d->inode->ops->open(d, O_RDONLY, &f) == 0);
    dentry_unref(d);
    return f;
}

Test(goferfs, reading_what_is_at_rest_is_no_news, .timeout = 20)
{
    struct file *f;
    uint64_t news;

    start_with(false, 1 << 20, 256);
    let_times_pass();
    f = open_file("a/b/c");
    read_all(f, "text"); /* the host notes the time of the first one */
    cr_assert_eq(number_of("a/b/c"), host_number_of("a/b/c"));
    news = host_news();
    for (int i = 0; i < 3; i++) {
        read_all(f, "text");
        cr_assert_eq(number_of("a/b/c"), host_number_of("a/b/c"));
    }
    cr_expect_eq(host_news(), news);
    put_file("a/b/c", "more");
    read_all(f, "more");
    cr_assert_eq(number_of("a/b/c"), host_number_of("a/b/c"));
    cr_expect_neq(host_news(), news);
    file_unref(f);
    stop();
}

/* Somebody makes a file, then says so in another: who reads that finds it, in the same tick. */
Test(goferfs, what_a_file_tells_is_news, .timeout = 20)
{
    struct file *f;

    start_with(false, 1 << 20, 256);
    f = open_file("a/b/c");
    for (int i = 0; i < 10; i++) {
        char name[16];

        snprintf(name, sizeof(name), "a/b/%d", i);
        let_times_pass();
        cr_assert_eq(number_of(name), 0);
        cr_assert_eq(number_of(name), 0);
        put_file(name, "");
        put_file("a/b/c", name);
        read_all(f, name);
        cr_assert_eq(number_of(name), host_number_of(name), "round %d", i);
    }
    file_unref(f);
    stop();
}

static bool over;

/* Swaps, removes and makes again what the others look at. */
static void *change(void *arg)
{
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        put_file("a/b/d", "new");
        rename("a/b/d", "a/b/c");
        rename("a/b", "a/x");
        mkdir("a/b", 0755);
        put_file("a/b/c", "another");
        unlink("a/x/c");
        rmdir("a/x");
        usleep(200);
    }
    return arg;
}

static void *use(void *arg)
{
    static const char *const paths[] = {"a", "a/b", "a/b/c", "a/b/d", "a/x", "a/x/c", "nothing"};
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < ROUNDS; i++) {
        int error;
        struct dentry *d = look_up(paths[(unsigned)rand_r(&seed) % ARRAY_COUNT(paths)], &error);
        struct linux_stat st;
        struct file *f = NULL;

        cr_assert(d || error == -ENOENT || error == -ENOTDIR, "error %d", error);
        if (!d)
            continue;
        cr_assert_eq(d->inode->ops->stat(d, rand_r(&seed) & 1, &st), 0);
        error = d->inode->ops->open(d, O_RDONLY, &f);
        cr_assert(error == 0 || error == -ENOENT || error == -ENOTDIR, "error %d", error);
        if (!error)
            file_unref(f);
        dentry_unref(d);
    }
    return NULL;
}

Test(goferfs, many_threads_in_a_changing_tree, .timeout = 60)
{
    pthread_t changer, users[THREADS];

    start(false);
    pthread_create(&changer, NULL, change, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&users[i], NULL, use, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(users[i], NULL);
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    pthread_join(changer, NULL);
    cr_expect_eq(number_of("a/b/c"), host_number_of("a/b/c"));
    cr_expect_eq(number_of("a/b/d"), host_number_of("a/b/d"));
    cr_expect_eq(number_of("a/x"), host_number_of("a/x"));
    stop();
}

/*
 * Pages of a share's files, mapped and let go while sync(2) visits all caches: it may come upon one
 * as soon as there is one.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/mman.h>

#include "sentry/fs/hostio.h"
#include "sentry/fs/share/internal.h"
#include "sentry/mm/mappable.h"
#include "tests/unit/mm_check.h"

#define TIMES 300000
#define FILES 4

static struct sandbox box;
static struct share fs = {.socket = -1};
static struct inode inodes[FILES];
static struct host_file *host;
static bool over; /* atomic */

static void setup(void)
{
    int fd = memfd_create("shared", MFD_CLOEXEC);

    sandbox_init(&box, 64UL << 20);
    refcount_set(&fs.sb.refs, 1);
    fs.memfile = box.memfile;
    lock_init(&fs.pages_lock);
    list_init(&fs.pages);
    for (int i = 0; i < SHARE_WRITE_LOCKS; i++)
        lock_init(&fs.write_locks[i]);
    for (int i = 0; i < FILES; i++)
        inode_init(&inodes[i], &share_operations, S_IFREG | 0644, 1, (uint64_t)i + 1);
    host = host_file_create(fd, "/shared");
    cr_assert_not_null(host);
}

static void teardown(void)
{
    host_file_unref(host);
    sandbox_fini(&box);
}

TestSuite(share_pages, .init = setup, .fini = teardown, .timeout = 60);

static void *sync_all(void *arg)
{
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
        (void)pagecache_flush_all();
    return NULL;
}

Test(share_pages, come_and_go_during_sync)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, sync_all, NULL), 0);
    for (int i = 0; i < TIMES; i++) {
        struct mappable *one, *same;
        const struct inode *inode = &inodes[i % FILES];

        cr_assert_eq(share_pages_get(&fs, inode, host, i % 2, &one), 0);
        cr_assert_eq(share_pages_get(&fs, inode, host, true, &same), 0);
        cr_assert_eq(one, same, "one file, one object");
        mappable_unref(one);
        mappable_unref(same);
    }
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(fs.pages_count, 0);
    cr_expect_eq(refcount_read(&fs.sb.refs), 1);
}

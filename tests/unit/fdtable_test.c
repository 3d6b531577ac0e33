/* Descriptor tables: lowest numbers, limits, flags, clones; and when files are let go. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/fdtable.h"
#include "sentry/vfs/file.h"

#define LIMIT 1024

static int released;

static void release(struct file *f)
{
    released++;
    file_fini(f);
    free(f);
}

static const struct file_operations operations = {.release = release};

static struct file *new_file(void)
{
    struct file *f = malloc(sizeof(*f));

    cr_assert(f);
    file_init(f, &operations, O_RDWR);
    return f;
}

static struct fdtable *table;

static void setup(void)
{
    released = 0;
    cr_assert_eq(fdtable_create(&table), 0);
}

TestSuite(fdtable, .init = setup);

static int install(int min)
{
    return fdtable_install(table, new_file(), min, LIMIT, false);
}

Test(fdtable, gives_the_lowest_number)
{
    for (int i = 0; i < 200; i++)
        cr_expect_eq(install(0), i);
    cr_expect_eq(fdtable_close(table, 3), 0);
    cr_expect_eq(fdtable_close(table, 100), 0);
    cr_expect_eq(fdtable_close(table, 1), 0);
    cr_expect_eq(released, 3);
    cr_expect_eq(install(50), 100);
    cr_expect_eq(install(0), 1);
    cr_expect_eq(install(0), 3);
    cr_expect_eq(install(0), 200);
    cr_expect_eq(install(500), 500);
    cr_expect_eq(install(0), 201);
    cr_expect_eq(fdtable_count(table), 203);
    fdtable_unref(table);
    cr_expect_eq(released, 206);
}

Test(fdtable, observes_the_limit)
{
    struct file *f = new_file();

    for (int i = 0; i < 4; i++)
        cr_expect_eq(install(0), i);
    cr_expect_not(fdtable_full(table, 5));
    cr_expect(fdtable_full(table, 4));
    cr_expect_eq(fdtable_install(table, f, 0, 4, false), -EMFILE);
    cr_expect_eq(fdtable_install(table, f, 4, 4, false), -EINVAL);
    cr_expect_eq(fdtable_install(table, f, -1, 4, false), -EINVAL);
    cr_expect_eq(fdtable_replace(table, 4, f, 4, false), -EBADF);
    cr_expect_eq(fdtable_replace(table, -1, f, 4, false), -EBADF);
    file_unref(f);
    fdtable_unref(table);
    cr_expect_eq(released, 5);
}

Test(fdtable, unknown_numbers)
{
    static const int numbers[] = {-1, 0, 63, 64, 100000, INT32_MAX, INT32_MIN};

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        cr_expect_null(fdtable_get(table, numbers[i]));
        cr_expect_eq(fdtable_close(table, numbers[i]), -EBADF);
        cr_expect_eq(fdtable_get_cloexec(table, numbers[i]), -EBADF);
        cr_expect_eq(fdtable_set_cloexec(table, numbers[i], true), -EBADF);
    }
    fdtable_unref(table);
}

Test(fdtable, replace_drops_what_was_there)
{
    cr_expect_eq(install(0), 0);
    cr_expect_eq(fdtable_replace(table, 0, new_file(), LIMIT, true), 0);
    cr_expect_eq(released, 1);
    cr_expect_eq(fdtable_get_cloexec(table, 0), 1);
    cr_expect_eq(fdtable_replace(table, 700, new_file(), LIMIT, false), 700);
    cr_expect_eq(install(0), 1);
    fdtable_unref(table);
    cr_expect_eq(released, 4);
}

Test(fdtable, clone_shares_files_not_numbers)
{
    struct fdtable *copy;
    struct file *f;

    cr_expect_eq(install(0), 0);
    cr_expect_eq(fdtable_install(table, new_file(), 0, LIMIT, true), 1);
    cr_expect_eq(fdtable_clone(table, &copy), 0);
    cr_expect_eq(fdtable_close(table, 0), 0);
    cr_expect_eq(released, 0);
    f = fdtable_get(copy, 0);
    cr_expect(f);
    file_unref(f);
    fdtable_close_on_exec(copy);
    cr_expect_null(fdtable_get(copy, 1));
    cr_expect_eq(released, 0);
    fdtable_unref(copy);
    fdtable_unref(table);
    cr_expect_eq(released, 2);
}

Test(fdtable, close_range)
{
    for (int i = 0; i < 10; i++)
        install(0);
    cr_expect_eq(fdtable_close_range(table, 5, 4, false), -EINVAL);
    cr_expect_eq(fdtable_close_range(table, 2, 4, true), 0);
    cr_expect_eq(fdtable_get_cloexec(table, 2), 1);
    cr_expect_eq(fdtable_get_cloexec(table, 5), 0);
    cr_expect_eq(fdtable_close_range(table, 3, UINT32_MAX, false), 0);
    cr_expect_eq(fdtable_count(table), 3);
    cr_expect_eq(install(0), 3);
    fdtable_unref(table);
}

struct observer {
    struct file_watch watch;
    int told;
};

static void observe(struct file_watch *watch)
{
    container_of(watch, struct observer, watch)->told++;
}

Test(fdtable, watches_are_told_once)
{
    struct observer stays = {.watch.gone = observe}, leaves = {.watch.gone = observe};
    struct file *f = new_file();

    file_watch_add(f, &stays.watch);
    file_watch_add(f, &leaves.watch);
    cr_expect(file_watch_remove(f, &leaves.watch));
    cr_expect_not(file_watch_remove(f, &leaves.watch));
    file_unref(f);
    cr_expect_eq(stays.told, 1);
    cr_expect_eq(leaves.told, 0);
    fdtable_unref(table);
}

/*
 * The path walk over a small file system that counts how often it is asked, with a second one
 * mounted in it.
 *
 *     /a/b/c/file     /a/up -> ..      /a/abs -> /a/b     /loop -> loop
 *     /file           /a/b/deep -> c/file                 /slash -> a/b/
 *     /mnt            (covered by another tree: /mnt/inner/leaf)
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/fs/treefs.h"
#include "sentry/vfs/path/namei.h"

static ssize_t text(uint64_t key, char *buf, size_t size)
{
    return 0;
}

static const struct tree_node c_nodes[] = {TREE_TEXT("file", text)};
static const struct tree_node b_nodes[] = {TREE_DIR("c", c_nodes), TREE_LINK("deep", "c/file")};
static const struct tree_node a_nodes[] = {
    TREE_DIR("b", b_nodes),
    TREE_LINK("up", ".."),
    TREE_LINK("abs", "/a/b"),
};
static const struct tree_node empty_nodes[] = {TREE_TEXT("covered", text)};
static const struct tree_node root_nodes[] = {
    TREE_DIR("a", a_nodes),
    TREE_TEXT("file", text),
    TREE_LINK("loop", "loop"),
    TREE_LINK("slash", "a/b/"),
    TREE_LINK("dangling", "a/nothing"),
    TREE_LINK("empty", ""),
    TREE_DIR("mnt", empty_nodes),
};
static const struct tree_node root_node = TREE_DIR("", root_nodes);

static const struct tree_node inner_nodes[] = {TREE_TEXT("leaf", text), TREE_LINK("out", "/file")};
static const struct tree_node other_nodes[] = {TREE_DIR("inner", inner_nodes)};
static const struct tree_node other_node = TREE_DIR("", other_nodes);

static struct mount_ns *ns;
static struct fs_context *fs;

static void mount_other(void)
{
    struct super_block *sb;
    struct walk_result at;

    cr_assert_eq(treefs_create(&other_node, "other", TMPFS_MAGIC, 101, &sb), 0);
    cr_assert_eq(path_walk(fs, NULL, "/mnt", WALK_FOLLOW, &at), 0);
    cr_assert_eq(mount_attach(ns, &at.path, sb, 0), 0);
    cr_assert_eq(mount_attach(ns, &at.path, sb, 0), -EBUSY);
    walk_result_unref(&at);
    super_unref(sb);
}

static void setup(void)
{
    struct super_block *sb;

    cr_assert_eq(treefs_create(&root_node, "test", TMPFS_MAGIC, 100, &sb), 0);
    cr_assert_eq(mount_ns_create(sb, &ns), 0);
    super_unref(sb);
    cr_assert_eq(fs_context_create(ns, 022, &fs), 0);
    mount_other();
}

static void teardown(void)
{
    fs_context_unref(fs);
    mount_ns_unref(ns);
}

TestSuite(walk, .init = setup, .fini = teardown);

/* Where `name` leads, as a path; NULL and errno-like in *ret_err when nowhere. */
static const char *find(const char *name, unsigned flags, int *ret_err)
{
    static char text_of[PATH_MAX];
    struct walk_result found;
    struct path root;

    *ret_err = path_walk(fs, NULL, name, flags, &found);
    if (*ret_err < 0)
        return "";
    root = fs_context_root(fs);
    cr_assert_geq(path_to_string(&root, &found.path, text_of, sizeof(text_of)), 0);
    path_unref(&root);
    walk_result_unref(&found);
    return text_of;
}

struct leads {
    const char *name, *to;
    unsigned flags;
};

struct fails {
    const char *name;
    unsigned flags;
    int error;
};

Test(walk, finds)
{
    static const struct leads cases[] = {
        {"/", "/", 0},
        {"////", "/", 0},
        {"/..", "/", 0},
        {"/../../a", "/a", 0},
        {"a", "/a", 0},
        {"./a/./b/../b", "/a/b", 0},
        {"/a/b/c/file", "/a/b/c/file", 0},
        {"/a//b///c/file", "/a/b/c/file", 0},
        {"/a/b/", "/a/b", 0},
        {"/a/up", "/a/up", 0},
        {"/a/up", "/", WALK_FOLLOW},
        {"/a/up/file", "/file", 0},
        {"/a/up/", "/", 0},
        {"/a/abs/c", "/a/b/c", 0},
        {"/a/abs/deep", "/a/b/c/file", WALK_FOLLOW},
        {"/slash", "/a/b", WALK_FOLLOW},
        {"/slash/c/file", "/a/b/c/file", 0},
        {"/loop", "/loop", 0},
        {"/dangling", "/dangling", 0},
        {"/mnt", "/mnt", 0},
        {"/mnt/inner/leaf", "/mnt/inner/leaf", 0},
        {"/mnt/inner/out", "/file", WALK_FOLLOW},
        {"/mnt/..", "/", 0},
        {"/mnt/inner/../../a", "/a", 0},
        {"", "/", WALK_EMPTY},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int err;
        const char *to = find(cases[i].name, cases[i].flags, &err);

        cr_expect_eq(err, 0, "\"%s\": %d", cases[i].name, err);
        cr_expect_str_eq(to, cases[i].to, "\"%s\" led to \"%s\"", cases[i].name, to);
    }
}

Test(walk, fails)
{
    static const struct fails cases[] = {
        {"", 0, -ENOENT},
        {"/nothing", 0, -ENOENT},
        {"/a/nothing/b", 0, -ENOENT},
        {"/a/b/c/nothing", 0, -ENOENT},
        {"/file/", 0, -ENOTDIR},
        {"/file/x", 0, -ENOTDIR},
        {"/file/.", 0, -ENOTDIR},
        {"/file/..", 0, -ENOTDIR},
        {"/a/b/c/file/x", 0, -ENOTDIR},
        {"/a/b/deep/", WALK_FOLLOW, -ENOTDIR},
        {"/file", WALK_DIRECTORY, -ENOTDIR},
        {"/a/up", WALK_DIRECTORY, -ENOTDIR},
        {"/loop", WALK_FOLLOW, -ELOOP},
        {"/loop/x", 0, -ELOOP},
        {"/loop/", 0, -ELOOP},
        {"/dangling", WALK_FOLLOW, -ENOENT},
        {"/empty", WALK_FOLLOW, -ENOENT},
        {"/mnt/covered", 0, -ENOENT},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int err;

        find(cases[i].name, cases[i].flags, &err);
        cr_expect_eq(err, cases[i].error, "\"%s\": %d", cases[i].name, err);
    }
}

Test(walk, lengths)
{
    char name[PATH_MAX + 2];
    int err;

    memset(name, 'x', sizeof(name));
    name[VFS_NAME_MAX] = '\0';
    find(name, 0, &err);
    cr_expect_eq(err, -ENOENT);
    name[VFS_NAME_MAX] = 'x';
    name[VFS_NAME_MAX + 1] = '\0';
    find(name, 0, &err);
    cr_expect_eq(err, -ENAMETOOLONG);
    memset(name, '/', sizeof(name));
    name[PATH_MAX - 1] = '\0';
    find(name, 0, &err);
    cr_expect_eq(err, 0);
    name[PATH_MAX - 1] = '/';
    name[PATH_MAX] = '\0';
    find(name, 0, &err);
    cr_expect_eq(err, -ENAMETOOLONG);
}

static int parent_of(const char *name, struct walk_parent *ret)
{
    int err = path_walk_parent(fs, NULL, name, ret);

    if (!err)
        path_unref(&ret->path);
    return err;
}

Test(walk, parents)
{
    struct walk_parent p;

    cr_expect_eq(parent_of("/a/new", &p), 0);
    cr_expect(p.kind == LAST_NAME && !p.slash);
    cr_expect_str_eq(p.name, "new");
    cr_expect_eq(parent_of("/a/new//", &p), 0);
    cr_expect(p.kind == LAST_NAME && p.slash);
    cr_expect_eq(parent_of("/a/.", &p), 0);
    cr_expect_eq(p.kind, LAST_DOT);
    cr_expect_eq(parent_of("..", &p), 0);
    cr_expect_eq(p.kind, LAST_DOTDOT);
    cr_expect_eq(parent_of("//", &p), 0);
    cr_expect_eq(p.kind, LAST_ROOT);
    cr_expect_eq(parent_of("/nothing/new", &p), -ENOENT);
    cr_expect_eq(parent_of("/file/new", &p), -ENOTDIR);
    cr_expect_eq(parent_of("", &p), -ENOENT);
}

Test(walk, working_directory)
{
    struct walk_result at;
    int err;

    cr_assert_eq(path_walk(fs, NULL, "/mnt/inner", 0, &at), 0);
    fs_context_set_cwd(fs, at.path);
    cr_expect_str_eq(find("leaf", 0, &err), "/mnt/inner/leaf");
    cr_expect_str_eq(find("../../a", 0, &err), "/a");
    cr_expect_str_eq(find(".", 0, &err), "/mnt/inner");
    walk_result_unref(&at);
}

/* A file system in which every name is a directory, and which counts its look-ups. */
static int lookups;
static uint64_t epoch;
static bool lookups_make_news;
static int living; /* inodes */

static int count_lookup(struct dentry *dir, const struct name *names, int count,
                        struct inode **ret_inodes, int *ret_error);
static void count_release(struct inode *inode)
{
    living--;
    free(inode);
}
static const struct inode_operations count_operations = {.lookup = count_lookup,
                                                         .release = count_release};

static struct inode *count_inode(uint64_t ino)
{
    struct inode *inode = malloc(sizeof(*inode));

    cr_assert(inode);
    living++;
    inode_init(inode, &count_operations, S_IFDIR | 0755, 1, ino);
    return inode;
}

static int count_lookup(struct dentry *dir, const struct name *names, int count,
                        struct inode **ret_inodes, int *ret_error)
{
    lookups++;
    epoch += lookups_make_news;
    *ret_error = 0;
    for (int i = 0; i < count; i++) {
        if (names[i].text[0] == '!') {
            *ret_error = -ENOENT;
            return i;
        }
        ret_inodes[i] = count_inode((uint64_t)names[i].text[0]);
    }
    return count;
}

static void count_super_release(struct super_block *sb)
{
    free(sb);
}

static uint64_t count_epoch(struct super_block *sb)
{
    return epoch;
}

/* It becomes the root. */
static struct super_block *count_lookups(void)
{
    struct super_block *sb = calloc(1, sizeof(*sb));

    cr_assert(sb);
    sb->idle_limit = 8;
    cr_assert_eq(super_init(sb, count_inode(1), count_super_release), 0);
    fs_context_unref(fs);
    mount_ns_unref(ns);
    cr_assert_eq(mount_ns_create(sb, &ns), 0);
    super_unref(sb);
    cr_assert_eq(fs_context_create(ns, 0, &fs), 0);
    return sb;
}

Test(walk, one_round_trip_for_many_names)
{
    int err;

    count_lookups();
    cr_expect_str_eq(find("/a/b/c/d/e/f", 0, &err), "/a/b/c/d/e/f");
    cr_expect_eq(lookups, 1);
    find("/a/b/c/!/e", 0, &err);
    cr_expect_eq(err, -ENOENT);
    cr_expect_eq(lookups, 2);
    cr_expect_str_eq(find("/a/b/../c/d", 0, &err), "/a/c/d");
    cr_expect_eq(lookups, 4);
}

/* So many look-ups that takes. */
static int cost(const char *name)
{
    int before = lookups, err;

    find(name, 0, &err);
    cr_expect_eq(err, 0);
    return lookups - before;
}

Test(walk, what_was_seen_in_this_epoch_is_not_looked_up)
{
    struct super_block *sb = count_lookups();
    struct dentry *a;
    int err;

    sb->epoch = count_epoch;
    epoch = 5;
    cr_expect_eq(cost("/a/b/c"), 1);
    cr_expect_eq(cost("/a/b/c"), 0);
    cr_expect_str_eq(find("/a/b", 0, &err), "/a/b");
    cr_expect_eq(cost("/a/b"), 0);
    cr_expect_eq(cost("/a/b/d/e"), 1, "from there on");
    epoch = 6;
    cr_expect_eq(cost("/a/b/c"), 1);
    cr_expect_eq(cost("/a/b/d"), 1, "what is below may be news");
    cr_expect_eq(cost("/a/b/d"), 0);

    a = dentry_find(sb->root, (struct name){"a", 1});
    cr_assert(a);
    dentry_detach(a, (struct name){"b", 1});
    dentry_unref(a);
    cr_expect_eq(cost("/a"), 0);
    cr_expect_eq(cost("/a/b"), 1, "it was removed here");

    epoch = 0;
    cr_expect_eq(cost("/a/b"), 1, "nobody knows");
    cr_expect_eq(cost("/a/b"), 1);

    epoch = 10;
    lookups_make_news = true;
    cr_expect_eq(cost("/a/b"), 1);
    cr_expect_eq(cost("/a/b"), 1, "the epoch ended while it was looked up");
    lookups_make_news = false;
}

/* What `name` in the root of `sb` is, as a walk finds it; its dentry is given back at once. */
static struct inode *pass(struct super_block *sb, const char *name)
{
    struct name n = {name, strlen(name)};
    struct dentry *d = dentry_attach(sb->root, n, count_inode((uint64_t)name[0]));
    struct inode *inode;

    cr_assert(d);
    inode = d->inode;
    dentry_unref(d);
    return inode;
}

Test(walk, idle_dentries_are_bounded_and_go)
{
    struct super_block *sb = calloc(1, sizeof(*sb));
    const char *const names[] = {"a", "b", "c", "d"};
    struct dentry *kept;

    cr_assert(sb);
    sb->idle_limit = 2;
    cr_assert_eq(super_init(sb, count_inode(1), count_super_release), 0);
    for (int i = 0; i < 4; i++)
        pass(sb, names[i]);
    cr_expect_eq(living, 3, "the root and two");
    cr_expect_null(dentry_find(sb->root, (struct name){"b", 1}));
    kept = dentry_find(sb->root, (struct name){"c", 1});
    cr_assert(kept);
    cr_expect_eq(pass(sb, "c"), kept->inode, "it is one object still");
    pass(sb, "e");
    cr_expect_eq(living, 4, "one in use, d and e idle");
    /* Names that lead elsewhere, or nowhere, do not stay. */
    dentry_detach(sb->root, (struct name){"e", 1});
    cr_expect_eq(living, 3);
    dentry_detach(sb->root, (struct name){"c", 1});
    cr_expect(dentry_gone(kept));
    dentry_unref(kept);
    cr_expect_eq(living, 2);
    super_unref(sb);
    cr_expect_eq(living, 0);
}

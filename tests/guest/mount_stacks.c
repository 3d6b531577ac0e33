/*
 * Mounts that propagate to what they lie upon: what goes with umount(2) and what comes down then,
 * and what moving into one's own peer makes. Prints the tree, by roots and places.
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kernel.h"

#define LINES 64

static char base[64];

static void bind(const char *from, const char *to)
{
    CHECK_EQ(mount(from, to, NULL, MS_BIND, NULL), 0);
}

/* A folder that is a mount of its own, shared. */
static void make_shared(const char *name)
{
    CHECK_EQ(mkdir(name, 0755), 0);
    bind(name, name);
    CHECK_EQ(mount(NULL, name, NULL, MS_REC | MS_SHARED, NULL), 0);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void show(const char *what)
{
    static struct {
        int id, parent;
        char root[200], place[200];
    } m[LINES];
    static char lines[LINES][512];
    FILE *file = fopen("/proc/self/mountinfo", "r");
    char line[1024];
    size_t count = 0;

    while (count < LINES && fgets(line, sizeof(line), file)) {
        char *place;

        if (sscanf(line, "%d %d %*s %199s %199s", &m[count].id, &m[count].parent, m[count].root,
                   m[count].place) != 4 ||
            strncmp(m[count].place, base, strlen(base)) != 0)
            continue;
        place = m[count].place + strlen(base);
        memmove(m[count].place, place, strlen(place) + 1);
        count++;
    }
    fclose(file);
    note("%s", what);
    for (size_t i = 0; i < count; i++) {
        const char *below = "-", *below_place = "";

        for (size_t k = 0; k < count; k++) {
            if (m[k].id == m[i].parent) {
                below = m[k].root;
                below_place = m[k].place;
            }
        }
        snprintf(lines[i], sizeof(lines[i]), "  %s at %s upon %s at %s", m[i].root, m[i].place,
                 below, below_place);
    }
    qsort(lines, count, sizeof(lines[0]), compare);
    for (size_t i = 0; i < count; i++)
        note("%s", lines[i]);
}

static void test_stack(void)
{
    make_shared("disk");
    make_shared("parent");
    make_shared("share");
    make_shared("parent/child");
    bind("parent/child", "share");
    bind("disk", "parent/child");
    show("bound twice");
    bind("parent/child", "share");
    show("and bound upon its peer");
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(umount("parent/child"), 0);
        show("unmounted");
    }
    CHECK_ERRNO(umount("parent/child"), EINVAL);
    CHECK_EQ(umount2("share", MNT_DETACH), 0);
    CHECK_EQ(umount2("parent", MNT_DETACH), 0);
    show("detached");
}

static void test_move(void)
{
    make_shared("first");
    mkdir("first/a", 0755);
    mkdir("second", 0755);
    bind("first", "second");
    CHECK_EQ(mount("first", "second/a", NULL, MS_MOVE, NULL), 0);
    show("moved into its peer");
    mkdir("second/b", 0755);
    bind("disk", "second/b");
    show("bound there");
    CHECK_EQ(umount("second/a/a/b"), 0);
    show("unmounted there");
    CHECK_EQ(umount("second/a/a"), 0);
    show("and that one");
}

/* A tree upon a child of its own: peers that are covered and have others upon them. */
static void test_within(void)
{
    make_shared("top");
    make_shared("top/one");
    make_shared("top/two");
    CHECK_EQ(mount("top", "top/two", NULL, MS_BIND | MS_REC, NULL), 0);
    show("upon its own child");
    CHECK_EQ(umount("top/two/one"), 0);
    show("unmounted in it");
    CHECK_EQ(umount("top/two/two"), 0);
    show("and the other one");
    CHECK_EQ(umount("top/two"), 0);
    CHECK_EQ(umount("top"), 0);
    show("and all");
}

int main(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        check_skip("mount namespaces are not for us here");
    need_kernel(6, 17);
    CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    snprintf(base, sizeof(base), "/tmp/stacks.%d", getpid());
    CHECK_EQ(mkdir(base, 0755), 0);
    CHECK_EQ(mount("none", base, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chdir(base), 0);
    test_stack();
    test_move();
    test_within();
    CHECK_EQ(chdir("/"), 0);
    CHECK_EQ(umount2(base, MNT_DETACH), 0);
    rmdir(base);
    return check_done();
}

/*
 * Names: a tree of files, folders, links and FIFOs in which things are made, linked, moved,
 * exchanged and removed at random, mostly under few names so that they meet. The model says what
 * each call must answer; folders must list what they hold, and files that are open stay after their
 * last name.
 */
#include "tests/cli/exercising.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES   512 /* names in use */
#define OBJECTS   600 /* what they lead to, and what is held open */
#define HELD      8
#define NAMES     24 /* so many different ones */
#define TOP       0  /* the entry of the current folder */
#define NONE      (-1)
#define NOREPLACE 1U
#define EXCHANGE  2U

struct object {
    unsigned refs; /* names, and holders */
    unsigned names;
    mode_t mode;
    uint64_t stamp; /* of the bytes, or of a link's target */
    size_t size;
    time_t mtime; /* 0: it was not set */
    ino_t ino;    /* 0: it was not seen in this run */
};

struct entry {
    int parent; /* NONE: not in use */
    unsigned name;
    int object;
};

static struct object objects[OBJECTS];
static struct entry entries[ENTRIES];
static struct {
    int fd, object;
} held[HELD];

/* A few of them are as long, or as odd, as names can be. */
static const char *name_of(unsigned number)
{
    static char text[NAMES][NAME_MAX + 1];
    char *name = text[number];

    if (!name[0]) {
        if (number < 2)
            memset(name, 'l' + (int)number, NAME_MAX);
        else
            snprintf(name, NAME_MAX, number < 4 ? "new\nline %u\xff" : "n%u", number);
    }
    return name;
}

/* An entry's path, in one of four buffers. */
static const char *path_of(int parent, unsigned name)
{
    static char paths[4][PATH_MAX];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    size_t at = PATH_MAX - 1;

    path[at] = '\0';
    for (;;) {
        size_t size = strlen(name_of(name));

        memcpy(path + (at -= size), name_of(name), size);
        if (parent == TOP)
            return path + at;
        path[--at] = '/';
        name = entries[parent].name;
        parent = entries[parent].parent;
    }
}

static int depth_of(int folder)
{
    int depth = 0;

    for (; folder != TOP; folder = entries[folder].parent)
        depth++;
    return depth;
}

static bool is_folder(int entry)
{
    return S_ISDIR(objects[entries[entry].object].mode);
}

static int find(int parent, unsigned name)
{
    for (int i = 1; i < ENTRIES; i++)
        if (entries[i].parent == parent && entries[i].name == name)
            return i;
    return NONE;
}

static bool is_empty(int folder)
{
    for (int i = 1; i < ENTRIES; i++)
        if (entries[i].parent == folder)
            return false;
    return true;
}

/* True if `entry` is `folder` or lies above it. */
static bool is_above(int entry, int folder)
{
    for (; folder != TOP; folder = entries[folder].parent)
        if (folder == entry)
            return true;
    return entry == TOP;
}

static int random_entry(struct exercise *x)
{
    int first = (int)pick(x, ENTRIES);

    for (int i = 0; i < ENTRIES; i++) {
        int entry = (first + i) % ENTRIES;

        if (entry != TOP && entries[entry].parent != NONE)
            return entry;
    }
    return NONE;
}

static int random_folder(struct exercise *x)
{
    for (int tries = 0; tries < 20; tries++) {
        int entry = random_entry(x);

        if (entry != NONE && is_folder(entry) && depth_of(entry) < 8)
            return entry;
    }
    return TOP;
}

/* How many folders deep what is below it goes. */
static int height_of(int entry)
{
    int height = 0;

    for (int i = 1; i < ENTRIES; i++) {
        int depth = 0, at = i;

        while (at != entry && at != TOP && entries[at].parent != NONE) {
            at = entries[at].parent;
            depth++;
        }
        if (at == entry && depth > height)
            height = depth;
    }
    return height;
}

/* Lets a name lead to an object; NONE when the model has no room. */
static int enter(int parent, unsigned name, int object)
{
    for (int i = 1; i < ENTRIES; i++) {
        if (entries[i].parent == NONE) {
            entries[i] = (struct entry){parent, name, object};
            objects[object].refs++;
            objects[object].names++;
            return i;
        }
    }
    return NONE;
}

static void forget(int entry)
{
    struct object *o = &objects[entries[entry].object];

    o->refs--;
    o->names--;
    entries[entry].parent = NONE;
}

static bool has_room(void)
{
    unsigned used = 0;

    for (int i = 1; i < ENTRIES; i++)
        used += entries[i].parent != NONE;
    return used < ENTRIES - 2;
}

static void expect(struct exercise *x, const char *what, const char *path, long result, int want)
{
    int got = result < 0 ? errno : 0;

    if (got != want)
        wrong(x, "%s %.300s: errno %d, not %d", what, path, got, want);
}

static void put_bytes(struct exercise *x, struct object *o, int fd)
{
    uint8_t bytes[9000];

    o->stamp = x->operations;
    o->size = pick(x, 3) ? pick(x, 100) : pick(x, sizeof(bytes));
    o->mtime = 0;
    fill(bytes, o->size, o->stamp);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, bytes, o->size, 0) != (ssize_t)o->size)
        wrong(x, "bytes of a file: errno %d", errno);
}

static void check_bytes(struct exercise *x, const struct object *o, int fd, const char *path)
{
    uint8_t want[9000], got[9001];
    ssize_t size = pread(fd, got, sizeof(got), 0);

    fill(want, o->size, o->stamp);
    if (size != (ssize_t)o->size || memcmp(want, got, o->size) != 0)
        wrong(x, "%.300s has other bytes: %zd, not %zu", path, size, o->size);
}

static void target_of(const struct object *o, char target[32])
{
    snprintf(target, 32, "to/%llx", (unsigned long long)o->stamp);
}

static void do_make(struct exercise *x)
{
    static const mode_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
    mode_t type = types[pick(x, 7)], mode = 0600 | (pick(x, 512) & 0177);
    int parent = random_folder(x), there, object = 0, fd = -1;
    unsigned name = pick(x, NAMES);
    const char *path = path_of(parent, name);
    long result;
    char target[32];

    while (objects[object].refs > 0)
        object++;
    there = find(parent, name);
    objects[object] = (struct object){.mode = type | (type == S_IFDIR ? 0700 | mode : mode),
                                      .stamp = x->operations};
    target_of(&objects[object], target);
    if (!has_room())
        return;
    if (type == S_IFREG)
        result = fd = open(path, O_RDWR | O_CREAT | O_EXCL, mode);
    else if (type == S_IFDIR)
        result = mkdir(path, objects[object].mode & 07777);
    else
        result = type == S_IFLNK ? symlink(target, path) : mknod(path, S_IFIFO | mode, 0);
    expect(x, "make", path, result, there != NONE ? EEXIST : 0);
    if (result < 0)
        return;
    enter(parent, name, object);
    if (type == S_IFREG) {
        put_bytes(x, &objects[object], fd);
        close(fd);
    } else if (type == S_IFLNK) {
        objects[object].mode |= 0777;
        objects[object].size = strlen(target);
    }
}

static void do_link(struct exercise *x)
{
    int from = random_entry(x), parent = random_folder(x);
    unsigned name = pick(x, NAMES);
    const char *path = path_of(parent, name);
    bool there = find(parent, name) != NONE;
    long result;

    if (from == NONE || !has_room())
        return;
    result = link(path_of(entries[from].parent, entries[from].name), path);
    expect(x, "link to", path, result, there ? EEXIST : is_folder(from) ? EPERM : 0);
    if (result == 0)
        enter(parent, name, entries[from].object);
}

static void do_remove(struct exercise *x)
{
    int parent = random_folder(x), entry, want = 0;
    unsigned name = pick(x, NAMES);
    bool folder = pick(x, 3) == 0;
    const char *path = path_of(parent, name);
    long result = folder ? rmdir(path) : unlink(path);

    entry = find(parent, name);
    if (entry == NONE)
        want = ENOENT;
    else if (folder)
        want = !is_folder(entry) ? ENOTDIR : !is_empty(entry) ? ENOTEMPTY : 0;
    else if (is_folder(entry))
        want = EISDIR;
    expect(x, folder ? "rmdir" : "unlink", path, result, want);
    if (result == 0)
        forget(entry);
}

/* What rename(2) has to say; the order is that of Linux's fs/namei.c. */
static int rename_answer(int from, int parent, int to, unsigned flags)
{
    if (flags == NOREPLACE && to != NONE)
        return EEXIST;
    if (flags == EXCHANGE && to == NONE)
        return ENOENT;
    if (is_above(from, parent))
        return EINVAL;
    if (to != NONE && is_above(to, entries[from].parent))
        return flags == EXCHANGE ? EINVAL : ENOTEMPTY;
    if (to == NONE || flags == EXCHANGE || entries[from].object == entries[to].object)
        return 0;
    if (is_folder(from) && !is_folder(to))
        return ENOTDIR;
    if (!is_folder(from) && is_folder(to))
        return EISDIR;
    return is_folder(to) && !is_empty(to) ? ENOTEMPTY : 0;
}

static void do_rename(struct exercise *x)
{
    int from = random_entry(x), parent = random_folder(x), to;
    unsigned name = pick(x, NAMES), flags = pick(x, 4) ? 0 : 1 + pick(x, 2);
    const char *path = path_of(parent, name);
    long result;

    if (from == NONE || depth_of(parent) + height_of(from) > 9)
        return;
    to = find(parent, name);
    if (to != NONE && depth_of(entries[from].parent) + height_of(to) > 9)
        return;
    result = syscall(SYS_renameat2, AT_FDCWD, path_of(entries[from].parent, entries[from].name),
                     AT_FDCWD, path, flags);
    expect(x, flags == EXCHANGE ? "exchange with" : "rename to", path, result,
           rename_answer(from, parent, to, flags));
    if (result < 0 || from == to)
        return;
    if (flags == EXCHANGE) {
        entries[to].parent = entries[from].parent;
        entries[to].name = entries[from].name;
    } else if (to != NONE) {
        if (entries[from].object == entries[to].object)
            return;
        forget(to);
    }
    entries[from].parent = parent;
    entries[from].name = name;
}

static void do_change(struct exercise *x)
{
    int entry = random_entry(x), fd;
    struct object *o;
    const char *path;

    if (entry == NONE)
        return;
    o = &objects[entries[entry].object];
    path = path_of(entries[entry].parent, entries[entry].name);
    switch (pick(x, 3)) {
    case 0:
        if (S_ISLNK(o->mode))
            break;
        o->mode = (o->mode & S_IFMT) | 0600 | (S_ISDIR(o->mode) ? 0700 : 0) | (pick(x, 512) & 0177);
        expect(x, "chmod", path, chmod(path, o->mode & 07777), 0);
        break;
    case 1:
        o->mtime = 1 + (time_t)pick(x, 1000000000);
        expect(x, "utimensat", path,
               utimensat(AT_FDCWD, path, (struct timespec[]){{o->mtime, 1}, {o->mtime, 2}},
                         AT_SYMLINK_NOFOLLOW),
               0);
        if (S_ISDIR(o->mode))
            o->mtime = 0; /* what happens in it would have to be followed */
        break;
    default:
        if (!S_ISREG(o->mode))
            break;
        fd = open(path, O_RDWR);
        put_bytes(x, o, fd);
        close(fd);
    }
}

static void check_object(struct exercise *x, struct object *o, const struct stat *st,
                         const char *path)
{
    bool folder = S_ISDIR(o->mode);

    if (st->st_mode != o->mode)
        wrong(x, "%.300s has mode %o, not %o", path, st->st_mode, o->mode);
    if (!folder && (st->st_nlink != o->names || (size_t)st->st_size != o->size))
        wrong(x, "%.300s has %lu names and %lu bytes, not %u and %zu", path,
              (unsigned long)st->st_nlink, (unsigned long)st->st_size, o->names, o->size);
    if (o->ino && o->ino != st->st_ino)
        wrong(x, "%.300s has number %lu, and had %lu", path, (unsigned long)st->st_ino,
              (unsigned long)o->ino);
    o->ino = st->st_ino;
    if (o->mtime && (st->st_mtim.tv_sec != o->mtime || st->st_mtim.tv_nsec != 2))
        wrong(x, "%.300s was changed at %ld, not %ld", path, (long)st->st_mtim.tv_sec,
              (long)o->mtime);
}

static void check_entry(struct exercise *x, int entry)
{
    struct object *o = &objects[entries[entry].object];
    const char *path = path_of(entries[entry].parent, entries[entry].name);
    char want[32], got[64] = "";
    struct stat st;
    int fd;

    expect(x, "stat", path, lstat(path, &st), 0);
    check_object(x, o, &st, path);
    if (S_ISLNK(o->mode)) {
        target_of(o, want);
        if (readlink(path, got, sizeof(got) - 1) < 0 || strcmp(want, got) != 0)
            wrong(x, "%.300s leads to %s, not %s", path, got, want);
    } else if (S_ISREG(o->mode)) {
        fd = open(path, O_RDONLY);
        check_bytes(x, o, fd, path);
        close(fd);
    }
}

static void check_folder(struct exercise *x, int folder)
{
    const char *path = folder == TOP ? "." : path_of(entries[folder].parent, entries[folder].name);
    bool seen[NAMES] = {false};
    unsigned count = 0;
    struct dirent *d;
    DIR *dir = opendir(path);

    if (!dir)
        wrong(x, "%.300s cannot be listed: errno %d", path, errno);
    while ((d = readdir(dir))) {
        unsigned name = 0;
        struct stat st;

        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        while (name < NAMES && strcmp(name_of(name), d->d_name) != 0)
            name++;
        if (name == NAMES || seen[name] || find(folder, name) == NONE)
            wrong(x, "%.300s lists %s", path, d->d_name);
        if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != d->d_ino ||
            (d->d_type != DT_UNKNOWN && d->d_type != IFTODT(st.st_mode)))
            wrong(x, "%.300s lists %s with number %lu and type %u", path, d->d_name, d->d_ino,
                  d->d_type);
        seen[name] = true;
        count++;
    }
    closedir(dir);
    for (int i = 1; i < ENTRIES; i++)
        count -= entries[i].parent == folder;
    if (count != 0)
        wrong(x, "%.300s lists %d names too many", path, (int)count);
}

static void do_check(struct exercise *x)
{
    int entry = random_entry(x);

    if (entry != NONE)
        check_entry(x, entry);
    check_folder(x, random_folder(x));
}

/* Opens a file for long, or looks at one that is open, with or without a name. */
static void do_hold(struct exercise *x)
{
    unsigned slot = pick(x, HELD);
    int entry = random_entry(x);
    struct stat st;

    if (held[slot].fd >= 0) {
        struct object *o = &objects[held[slot].object];

        if (fstat(held[slot].fd, &st) < 0)
            wrong(x, "fstat: errno %d", errno);
        check_object(x, o, &st, "a file held open");
        if (pick(x, 3) == 0)
            put_bytes(x, o, held[slot].fd);
        check_bytes(x, o, held[slot].fd, "a file held open");
        if (pick(x, 2))
            return;
        close(held[slot].fd);
        o->refs--;
        held[slot].fd = -1;
    } else if (entry != NONE && S_ISREG(objects[entries[entry].object].mode)) {
        held[slot].fd = open(path_of(entries[entry].parent, entries[entry].name), O_RDWR);
        held[slot].object = entries[entry].object;
        if (held[slot].fd < 0)
            wrong(x, "open: errno %d", errno);
        objects[held[slot].object].refs++;
    }
}

static void begin(struct exercise *x)
{
    if (x->goes_on) {
        load_state(x, objects, sizeof(objects));
        load_state(x, entries, sizeof(entries));
        for (int i = 0; i < OBJECTS; i++)
            objects[i].ino = 0;
    } else {
        objects[0] = (struct object){.refs = 1, .mode = S_IFDIR | 0755};
        for (int i = 0; i < ENTRIES; i++)
            entries[i].parent = NONE;
        entries[TOP] = (struct entry){NONE, 0, 0};
    }
    for (int i = 0; i < HELD; i++)
        held[i].fd = -1;
}

static void check_tree(struct exercise *x)
{
    for (int i = 1; i < ENTRIES; i++) {
        if (entries[i].parent == NONE)
            continue;
        check_entry(x, i);
        if (is_folder(i))
            check_folder(x, i);
    }
    check_folder(x, TOP);
}

void exercise_names(struct exercise *x)
{
    static void (*const operations[])(struct exercise *) = {
        do_make,   do_make,   do_make,   do_link,   do_remove, do_remove, do_remove,
        do_remove, do_rename, do_rename, do_change, do_check,  do_check,  do_hold,
    };

    begin(x);
    if (pick(x, 2))
        check_tree(x);
    while (go_on(x))
        operations[pick(x, sizeof(operations) / sizeof(operations[0]))](x);
    check_tree(x);
    for (int i = 0; i < HELD; i++)
        if (held[i].fd >= 0)
            objects[held[i].object].refs--;
    lseek(x->state, 0, SEEK_SET);
    save_state(x, objects, sizeof(objects));
    save_state(x, entries, sizeof(entries));
}

/*
 * libFuzzer target: any records as what an overlay that was kept finds in its journal. Whatever
 * comes, it is refused or makes a tree that can be listed and looked through, and nothing is left
 * in the end.
 *
 * The input is a row of batches, each begun by struct form; head and hash are made right, so that
 * the records are what is tried.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "platform/memfile.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/overlay/record.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"
#include "tests/fuzz/fuzz.h"

#define JOURNAL_MAX (128U << 10)

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What precedes a record: 0: `size` bytes follow as they are; else one is made. */
struct form {
    uint8_t type;
    uint8_t flags;
    uint8_t id, other; /* the node; the one that a name leads to, or the kind of a node */
    uint8_t size;      /* of text that follows */
};

static uint8_t journal[JOURNAL_MAX];
static size_t journal_size;
static struct memfile *memfile;

static ssize_t read_journal(void *arg, void *buf, size_t size, uint64_t offset)
{
    size_t n = offset < journal_size ? MIN(size, journal_size - offset) : 0;

    memcpy(buf, journal + offset, n);
    return (ssize_t)n;
}

static size_t make_node(const struct form *form, const uint8_t *text, size_t size, uint8_t *to)
{
    static const uint32_t types[] = {S_IFDIR, S_IFREG, S_IFLNK, S_IFIFO, S_IFCHR};
    struct ov_node_record *r = (void *)to;
    uint32_t type = types[form->other % ARRAY_COUNT(types)];

    *r = (struct ov_node_record){
        .head = {.type = OV_NODE, .flags = form->flags, .id = form->id},
        .dev = 1,
        .ino = form->id,
        .mode = type | 0755,
        .nlink = form->other / 16,
    };
    if (type == S_IFLNK)
        r->target_size = (uint32_t)size;
    else
        r->path_size = (uint32_t)size;
    memcpy(r->text, text, size);
    return sizeof(*r) + size;
}

static size_t make_record(const struct form *form, const uint8_t *text, size_t size, uint8_t *to)
{
    struct ov_xattr_record *x = (void *)to;
    struct ov_name_record *n = (void *)to;

    switch (form->type % 5) {
    case OV_NODE:
        return make_node(form, text, size, to);
    case OV_XATTR:
        *x = (struct ov_xattr_record){
            .head = {.type = OV_XATTR, .flags = form->flags, .id = form->id},
            .name_size = (uint32_t)(size / 2),
            .value_size = (uint32_t)(size - size / 2),
        };
        memcpy(x->text, text, size);
        return sizeof(*x) + size;
    case OV_NAME:
        *n = (struct ov_name_record){
            .head = {.type = OV_NAME, .flags = form->flags, .id = form->id},
            .node = form->other,
            .name_size = (uint32_t)size,
            .type = DT_REG,
        };
        memcpy(n->name, text, size);
        return sizeof(*n) + size;
    case OV_COPIED:
        *(struct ov_record *)to = (struct ov_record){.type = OV_COPIED, .id = form->id};
        return sizeof(struct ov_record);
    default:
        memcpy(to, text, size);
        return size;
    }
}

static void make_journal(const uint8_t *data, size_t size)
{
    uint64_t number = 0;

    journal_size = 0;
    while (size > sizeof(struct form) && journal_size + 1024 < JOURNAL_MAX) {
        struct ov_batch *batch = (void *)(journal + journal_size);
        uint8_t *record = (uint8_t *)(batch + 1);
        struct form form;
        size_t length, made;

        memcpy(&form, data, sizeof(form));
        data += sizeof(form);
        size -= sizeof(form);
        length = MIN((size_t)form.size, size);
        memset(record, 0, 1024 - sizeof(*batch));
        made = round_up(make_record(&form, data, length, record), 8);
        if (form.type % 5 != 0)
            ((struct ov_record *)record)->size = (uint32_t)made;
        *batch = (struct ov_batch){.magic = OV_BATCH_MAGIC, .number = ++number, .size = made};
        batch->hash = XXH3_64bits_withSeed(record, made, number * 31 + made);
        data += length;
        size -= length;
        journal_size += sizeof(*batch) + made;
    }
}

static void see(void *arg, enum overlay_change change, uint8_t type, const char *path)
{
    CHECK(change == OVERLAY_ADDED || change == OVERLAY_MODIFIED || change == OVERLAY_REMOVED);
    CHECK(path[0] == '/' && !strstr(path, "//") && !strstr(path, "/../"));
    ++*(int *)arg;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    log_setup(-1, LEVEL_ERROR);
    CHECK(memfile_create(1UL << 30, &memfile) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tmpfs_config tmpfs = {
        .memfile = memfile, .mode = 0755, .size_limit = 1 << 20, .inode_limit = 1000};
    struct overlay_config config = {.entry_limit = 1000, .imagined = true};
    struct super_block *sb;
    int count = 0;

    make_journal(data, size);
    CHECK(tmpfs_create(&tmpfs, &config.upper) == 0 && imagined_create(&config.lower) == 0);
    CHECK(overlay_create(&config, &sb) == 0);
    super_unref(config.upper);
    super_unref(config.lower);
    if (overlay_imagine(sb, read_journal, NULL) == 0)
        CHECK(overlay_changes(sb, see, &count) == 0 && count <= 1000);
    super_unref(sb);
    return 0;
}

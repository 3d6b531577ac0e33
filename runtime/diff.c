/*
 * `kvmsentry diff`: the journal of a folder is read as a sandbox would read it, over a tree of
 * which nothing is known but its names. Sandboxes have written that journal, so it is read in their
 * jail.
 */
#include "runtime/diff.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/io.h"
#include "host/jail.h"
#include "host/path.h"
#include "platform/memfile.h"
#include "runtime/changes.h"
#include "runtime/options.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/inode.h"

#define MEMORY_BYTES (1UL << 30) /* at most; of it is used what long link targets take */
#define ENTRIES_MAX  (1UL << 20) /* as many as a sandbox could have made */
#define JOURNAL_NAME "journal"

static ssize_t read_journal(void *fd, void *buf, size_t size, uint64_t offset)
{
    return host_pread(*(int *)fd, buf, size, (int64_t)offset);
}

static int enter_jail(void)
{
    struct jail_request jail = {.roles = JAIL_SENTRY};
    int err;

    jail_isolate();
    err = jail_drop_privileges();
    return err ? err : jail_enter(&jail);
}

static int make_tree(struct memfile *memfile, struct super_block **ret)
{
    const struct tmpfs_config tmpfs = {
        .memfile = memfile, .mode = 0755, .size_limit = MEMORY_BYTES, .inode_limit = ENTRIES_MAX};
    struct overlay_config config = {.entry_limit = ENTRIES_MAX, .imagined = true};
    int err = tmpfs_create(&tmpfs, &config.upper);

    if (!err)
        err = imagined_create(&config.lower);
    if (!err)
        err = overlay_create(&config, ret);
    super_unref(config.upper);
    super_unref(config.lower);
    return err;
}

static int list(int fd, bool json)
{
    struct memfile *memfile;
    struct super_block *tree;
    int err = memfile_create(MEMORY_BYTES, &memfile);

    if (!err)
        err = enter_jail();
    if (!err)
        err = make_tree(memfile, &tree);
    if (!err)
        err = overlay_imagine(tree, read_journal, &fd);
    return err ? err : changes_write_kinds(tree, 1, json);
}

int diff_run(const struct options *o)
{
    char path[PATH_MAX];
    int fd, err;

    log_setup(2, o->log_level);
    snprintf(path, sizeof(path), "%s/" JOURNAL_NAME, o->argv[0]);
    fd = host_open_read(path);
    if (fd < 0) {
        log_error("%s: %s: no folder of --overlay=dir:PATH", path, strerror(-fd));
        return EXIT_SANDBOX;
    }
    err = list(fd, o->json);
    if (err < 0)
        log_error("%s: %s", path, strerror(-err));
    return err < 0 ? EXIT_SANDBOX : 0;
}

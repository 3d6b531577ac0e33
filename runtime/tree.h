/*
 * The first program's files: the tree it sees, where it stands in it, its descriptors 0, 1 and 2.
 */
#ifndef RUNTIME_TREE_H
#define RUNTIME_TREE_H

#include "base/compiler.h"

struct file;
struct memfile;
struct fdtable;
struct fs_context;
struct gofer_client;
struct mount_ns;
struct terminal;

struct tree {
    struct gofer_client *gofer; /* owned */
    struct mount_ns *ns;        /* owned */
    struct fs_context *fs;      /* owned reference */
    struct fdtable *files;      /* owned reference */
    struct terminal *tty;       /* the caller's controlling terminal if stdio has it; borrowed */
};

struct tree_config {
    int gofer_socket;           /* taken over */
    int stdio[3];               /* host descriptors, taken over; -1 for one that is closed */
    const char *stdio_names[3]; /* what the host calls them */
    struct memfile *memfile;    /* borrowed */
    const char *cwd;
    uint32_t umask;
    unsigned cpu_count; /* as /sys tells it */
    pid_t host_group;   /* the host's number of our process group */
};

/*
 * Mounts what the gofer shows as "/", with our own /dev, /proc and /sys upon it, and installs
 * stdio. -errno; a part of it is left then.
 */
int tree_create(const struct tree_config *config, struct tree *ret_tree);
/* An interpreter, by absolute or relative path. */
int tree_open_exec(struct tree *tree, const char *path, struct file **ret);

#endif

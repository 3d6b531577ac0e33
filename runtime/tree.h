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
struct option_bind;
struct option_tmpfs;
struct super_block;
struct terminal;

struct tree {
    struct gofer_client *gofer;  /* owned */
    struct mount_ns *ns;         /* owned */
    struct super_block *overlay; /* borrowed from ns; NULL: none */
    struct fs_context *fs;       /* owned reference */
    struct mount_ns *host_ns;    /* owned: the host's tree with nothing mounted upon it ... */
    struct fs_context *host_fs;  /* ... as the command line's words mean it */
    struct fdtable *files;       /* owned reference */
    struct terminal *tty;        /* the caller's controlling terminal if stdio has it; borrowed */
};

struct tree_config {
    int gofer_socket;           /* taken over */
    int stdio[3];               /* host descriptors, taken over; -1 for one that is closed */
    const char *stdio_names[3]; /* what the host calls them */
    struct memfile *memfile;    /* borrowed */
    const char *cwd;
    uint32_t umask;
    unsigned cpu_count;               /* as /sys tells it */
    pid_t host_group;                 /* the host's number of our process group */
    uint32_t uid, gid;                /* own /tmp and the like */
    uint64_t memory;                  /* bytes of guest memory there can be */
    bool overlay;                     /* the host's tree can be written, in memory */
    int store_socket;                 /* what is written is kept by this gofer; -1; taken over */
    const char *store;                /* where that is, for messages */
    bool read_only;                   /* it cannot */
    const struct option_tmpfs *tmpfs; /* trees of the command line; tmpfs_count of them */
    size_t tmpfs_count;
    bool exclusive;    /* --file-access */
    bool checks_modes; /* the gofer sees everything, so modes and owners decide here */
    uint32_t handles;  /* host descriptors that may be kept for the next open */
    const struct option_bind *binds; /* the host's folders; their sockets are taken over */
    size_t bind_count;
};

/*
 * Mounts what the gofer shows as "/", with our own /dev, /proc and /sys and writable /tmp,
 * /dev/shm, /var/tmp and /run upon it, and installs stdio. -errno; a part of it is left then.
 */
int tree_create(const struct tree_config *config, struct tree *ret_tree);
/*
 * A program or an interpreter, by absolute or relative path: what the program would find, else what
 * the host has there, for a program in /tmp can be started though its own /tmp is empty.
 */
int tree_open_exec(struct tree *tree, const char *path, struct file **ret);
/*
 * Where `path`, absolute, leads below /tmp or another tree of our own: the host's topmost folder on
 * the way, overlaid like the rest of the host's tree, shows at its place. For the program's
 * working directory, and for where the program itself lies.
 */
void tree_uncover(struct tree *tree, const char *path);
/* A file that was opened in host_fs goes over to the program's own tree, where it may be covered.
 */
void tree_adopt(struct tree *tree, struct file *file);

#endif

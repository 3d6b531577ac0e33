/* A process's view of the tree: root, working directory, umask. Shared with CLONE_FS. */
#ifndef SENTRY_VFS_FS_CONTEXT_H
#define SENTRY_VFS_FS_CONTEXT_H

#include "sentry/vfs/mount/mount.h"

struct fs_context;

/* Root and working directory are the namespace's root. */
int fs_context_create(struct mount_ns *ns, uint32_t umask, struct fs_context **ret);
int fs_context_clone(struct fs_context *fs, struct fs_context **ret); /* fork without CLONE_FS */
struct fs_context *fs_context_ref(struct fs_context *fs);
struct fs_context *fs_context_unref(struct fs_context *fs);
bool fs_context_shared(const struct fs_context *fs);
/* How many have it. */
uint32_t fs_context_users(const struct fs_context *fs);

/* New references. */
struct path fs_context_root(struct fs_context *fs);
struct path fs_context_cwd(struct fs_context *fs);
/* A reference of its own is taken. */
void fs_context_set_cwd(struct fs_context *fs, struct path cwd);
void fs_context_set_root(struct fs_context *fs, struct path root);
uint32_t fs_context_umask(struct fs_context *fs);
/* Returns the old one. */
uint32_t fs_context_set_umask(struct fs_context *fs, uint32_t umask);

#endif

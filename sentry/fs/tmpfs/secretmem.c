/*
 * Files that are only there to be mapped: mm/secretmem.c of Linux, and what is left of hugetlbfs
 * where the pool of huge pages is empty. The size of a secret is set once; the huge file has sizes
 * and seals, but no page will ever come.
 */
#include "sentry/fs/tmpfs/secretmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "sentry/fs/tmpfs/internal.h"
#include "sentry/mm/shmem.h"
#include "sentry/mm/uio.h"
#include "sentry/vfs/attr/identity.h"

#define SECRET_DEV_MINOR 14
#define HUGE_DEV_MINOR   13
#define LARGEFILE_BIT    0100000U

static struct memfile *memfile;
static struct shmem_budget *budget;
static uint64_t last_ino; /* atomic */

/* One object for both kinds. */
struct bare_file {
    struct file file;
    struct lock lock;
    struct mappable *object; /* owned */
    uint64_t size, ino;      /* size, mode and seals: under lock */
    uint64_t page_size;      /* huge: of its pages */
    uint32_t mode, seals;
    uint32_t uid, gid;
};

void secretmem_setup(struct memfile *mf, struct shmem_budget *pages)
{
    memfile = mf;
    budget = pages;
}

static struct bare_file *bare(struct file *f)
{
    return container_of(f, struct bare_file, file);
}

static void bare_release(struct file *f)
{
    struct bare_file *b = bare(f);

    mappable_unref(b->object);
    lock_destroy(&b->lock);
    file_fini(f);
    free(b);
}

static int bare_mmap(struct file *f, struct mappable **ret_object)
{
    *ret_object = mappable_ref(bare(f)->object);
    return 0;
}

static void fill_stat(struct bare_file *b, uint32_t minor, struct linux_stat *ret)
{
    lock_acquire(&b->lock);
    *ret = (struct linux_stat){
        .st_dev = makedev(0, minor),
        .st_ino = b->ino,
        .st_nlink = 1,
        .st_mode = b->mode,
        .st_uid = b->uid,
        .st_gid = b->gid,
        .st_size = (int64_t)b->size,
        .st_blksize = (int64_t)b->page_size,
    };
    lock_release(&b->lock);
}

static int bare_create(const struct file_operations *ops, const char *name, struct bare_file **ret)
{
    struct bare_file *b = calloc(1, sizeof(*b));
    char path[VFS_NAME_MAX + 16];
    int err;

    if (!b)
        return -ENOMEM;
    err = shmem_file_create(memfile, budget, &b->object);
    if (err < 0) {
        free(b);
        return err;
    }
    snprintf(path, sizeof(path), "/%s (deleted)", name);
    shmem_file_set_name(b->object, path);
    lock_init(&b->lock);
    b->ino = __atomic_add_fetch(&last_ino, 1, __ATOMIC_RELAXED);
    b->uid = vfs_identity()->uid;
    b->gid = vfs_identity()->gid;
    file_init(&b->file, ops, O_RDWR | LARGEFILE_BIT);
    b->file.path = strdup(path);
    *ret = b;
    return 0;
}

/* ---- secrets ------------------------------------------------------------------------------- */

static int secret_stat(struct file *f, struct linux_stat *ret)
{
    fill_stat(bare(f), SECRET_DEV_MINOR, ret);
    return 0;
}

static int secret_truncate(struct file *f, uint64_t size)
{
    struct bare_file *b = bare(f);
    int err = 0;

    lock_acquire(&b->lock);
    if (b->size)
        err = -EINVAL;
    else
        b->size = size;
    lock_release(&b->lock);
    if (!err)
        shmem_file_truncate(b->object, size);
    return err;
}

static int secret_map_begin(struct file *f, int prot, bool shared, int *max_prot)
{
    return shared ? 0 : -EINVAL;
}

static const struct file_operations secret_operations = {
    .stat = secret_stat,
    .mmap = bare_mmap,
    .map_begin = secret_map_begin,
    .truncate = secret_truncate,
    .release = bare_release,
};

int secretmem_create(struct file **ret)
{
    struct bare_file *b;
    int err = bare_create(&secret_operations, "secretmem", &b);

    if (err < 0)
        return err;
    b->object->kind = MAPPABLE_SECRET;
    b->mode = S_IFREG | 0600;
    b->page_size = PAGE_SIZE;
    *ret = &b->file;
    return 0;
}

/* ---- huge pages, of which there are none --------------------------------------------------- */

static int huge_stat(struct file *f, struct linux_stat *ret)
{
    fill_stat(bare(f), HUGE_DEV_MINOR, ret);
    return 0;
}

/* Zeroes, as far as the size goes. */
static ssize_t huge_read(struct file *f, struct uio *uio, int64_t *pos)
{
    struct bare_file *b = bare(f);
    uint64_t size;
    ssize_t n;

    lock_acquire(&b->lock);
    size = b->size;
    lock_release(&b->lock);
    if ((uint64_t)*pos >= size)
        return 0;
    n = uio_zero(uio, MIN(uio->left, size - (uint64_t)*pos));
    if (n > 0)
        *pos += n;
    return n;
}

static int64_t huge_llseek(struct file *f, int64_t offset, int whence, int64_t pos)
{
    return file_seek_in(offset, whence, pos, (int64_t)bare(f)->size);
}

static int huge_truncate(struct file *f, uint64_t size)
{
    struct bare_file *b = bare(f);
    int err = 0;

    if (size & (b->page_size - 1))
        return -EINVAL;
    lock_acquire(&b->lock);
    if ((size < b->size && (b->seals & F_SEAL_SHRINK)) ||
        (size > b->size && (b->seals & F_SEAL_GROW)))
        err = -EPERM;
    else
        b->size = size;
    lock_release(&b->lock);
    return err;
}

static int huge_allocate(struct file *f, int mode, uint64_t offset, uint64_t size)
{
    if (mode & FALLOC_FL_PUNCH_HOLE)
        return bare(f)->seals & TMPFS_NO_WRITE ? -EPERM : 0;
    return mode & ~FALLOC_FL_KEEP_SIZE ? -EOPNOTSUPP : -ENOSPC;
}

static const struct file_operations huge_operations = {
    .read = huge_read,
    .llseek = huge_llseek,
    .stat = huge_stat,
    .mmap = bare_mmap,
    .truncate = huge_truncate,
    .allocate = huge_allocate,
    .release = bare_release,
};

int hugemem_create(const char *name, uint64_t page_size, bool sealable, bool exec,
                   struct file **ret)
{
    char shown[VFS_NAME_MAX + 1];
    struct bare_file *b;
    int err;

    snprintf(shown, sizeof(shown), "memfd:%s", name);
    err = bare_create(&huge_operations, shown, &b);
    if (err < 0)
        return err;
    b->object->kind = MAPPABLE_HUGE;
    b->mode = S_IFREG | (exec ? 0777 : 0666);
    b->page_size = page_size;
    b->seals = (sealable ? 0 : F_SEAL_SEAL) | (exec ? 0 : TMPFS_SEAL_EXEC);
    *ret = &b->file;
    return 0;
}

bool hugemem_add_seals(struct file *f, uint32_t seals, int *ret)
{
    struct bare_file *b = bare(f);

    if (f->ops != &huge_operations)
        return false;
    lock_acquire(&b->lock);
    *ret = b->seals & F_SEAL_SEAL ? -EPERM : 0;
    if (*ret == 0)
        b->seals |= seals;
    lock_release(&b->lock);
    return true;
}

bool hugemem_get_seals(struct file *f, int *ret)
{
    struct bare_file *b = bare(f);

    if (f->ops != &huge_operations)
        return false;
    lock_acquire(&b->lock);
    *ret = (int)b->seals;
    lock_release(&b->lock);
    return true;
}

/* Opens and reads the files of an execve (image.h). */
#include "loader/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/segment.h"
#include "sentry/vfs/file.h"

/* The header, a `#!` line, and mostly the program headers too. */
#define HEAD_SIZE PAGE_SIZE

void image_release(struct image *image)
{
    file_unref(image->file);
    free(image->head);
    free(image->plan);
    *image = (struct image){0};
}

static int check_file(struct file *file, uint64_t *ret_size, struct why *why)
{
    struct linux_stat st;
    int r = file->ops->stat ? file->ops->stat(file, &st) : -EACCES;

    if (r)
        return why_set(why, r, "cannot stat it (%s)", strerror(-r));
    if (S_ISDIR(st.st_mode))
        return why_set(why, -EACCES, "is a directory");
    if (!S_ISREG(st.st_mode))
        return why_set(why, -EACCES, "not a regular file");
    /* Whose bit it must be is checked by who opened it; without any, root may not either. */
    if (!(st.st_mode & 0111))
        return why_set(why, -EACCES, "no execute permission");
    *ret_size = st.st_size < 0 ? 0 : (uint64_t)st.st_size;
    return 0;
}

int image_open(struct image *image, struct file *file, struct why *why)
{
    int r;

    *image = (struct image){.file = file};
    r = check_file(file, &image->file_size, why);
    if (r == 0) {
        image->head_size = MIN(image->file_size, HEAD_SIZE);
        image->head = calloc(1, HEAD_SIZE);
        if (!image->head)
            r = why_set(why, -ENOMEM, "out of memory");
        else if ((r = read_exact(file, 0, image->head, image->head_size)) != 0)
            why_set(why, r, "cannot read it (%s)", strerror(-r));
    }
    if (r)
        image_release(image);
    return r;
}

int image_parse(struct image *image, uint64_t limit, struct why *why)
{
    const void *phdrs;
    void *buf = NULL;
    struct elf_header header;
    uint64_t size;
    int r;

    r = elf_parse_header(image->head, image->head_size, image->file_size, &header, why);
    if (r)
        return r;
    size = header.phnum * sizeof(Elf64_Phdr);
    if (header.phoff <= image->head_size && size <= image->head_size - header.phoff) {
        phdrs = image->head + header.phoff;
    } else {
        buf = malloc(size);
        if (!buf)
            return why_set(why, -ENOMEM, "out of memory");
        r = read_exact(image->file, header.phoff, buf, size);
        if (r)
            why_set(why, r, "cannot read its program headers (%s)", strerror(-r));
        phdrs = buf;
    }
    if (r == 0)
        r = elf_parse_segments(&header, phdrs, image->file_size, limit, &image->plan, why);
    free(buf);
    return r;
}

/* A file on its way to be a program: its first bytes, and its plan once it is known to be an ELF.
 */
#ifndef LOADER_IMAGE_H
#define LOADER_IMAGE_H

#include "loader/elf_plan.h"

struct file;

struct image {
    struct file *file; /* a reference */
    uint64_t file_size;
    uint8_t *head;
    size_t head_size;
    struct elf_plan *plan;
    uint64_t bias;
};

/*
 * Takes over the reference to the file; refuses what is no regular, executable file (-EACCES) or
 * cannot be read. On failure the image is empty again.
 */
int image_open(struct image *image, struct file *file, struct why *why);
/* Fills image->plan; `limit` as for elf_parse_segments(), errors too. */
int image_parse(struct image *image, uint64_t limit, struct why *why);
/* Empties it; an empty one stays so. */
void image_release(struct image *image);

#endif

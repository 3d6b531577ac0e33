/* The built vDSO (vdso.c) as bytes of this program: a whole ELF file, mapped as it is. */
#ifndef VDSO_VDSO_IMAGE_H
#define VDSO_VDSO_IMAGE_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t vdso_image[];
extern const size_t vdso_image_size; /* bytes */

#endif

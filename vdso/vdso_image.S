/* Embeds the file that the build made from vdso.c; VDSO_FILE is its name. */
    .section .rodata, "a"
    .globl  vdso_image
    .hidden vdso_image
    .type   vdso_image, @object
    .balign 64
vdso_image:
    .incbin VDSO_FILE
1:
    .size   vdso_image, 1b - vdso_image

    .globl  vdso_image_size
    .hidden vdso_image_size
    .type   vdso_image_size, @object
    .balign 8
vdso_image_size:
    .quad   1b - vdso_image
    .size   vdso_image_size, 8

    .section .note.GNU-stack, "", @progbits

/* A shared library that only some sandboxes need, loaded before the jail closes. */
#ifndef HOST_LIBRARY_H
#define HOST_LIBRARY_H

#include "base/compiler.h"

/* Its names stay apart from ours: RTLD_LOCAL. NULL, and *ret_why in words, which stay good. */
void *host_library_open(const char *name, const char **ret_why);
void *host_library_symbol(void *library, const char *name); /* NULL: there is none */

#endif

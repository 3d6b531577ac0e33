/*
 * What a walk is made of: namei.c goes along a path, namei_run.c from one name to others below it,
 * namei_last.c looks at the last one.
 */
#ifndef SENTRY_VFS_NAMEI_INTERNAL_H
#define SENTRY_VFS_NAMEI_INTERNAL_H

#include <string.h>

#include "sentry/vfs/path/namei.h"

struct walk {
    struct fs_context *fs;
    struct path root;
    struct path top; /* WALK_BENEATH: must not be left; else empty */
    struct path at;
    unsigned flags;   /* enum walk_flags */
    const char *rest; /* what is left of the path */
    char *buffer;     /* owned: holds `rest` once a symbolic link was followed */
    int links;
    uint64_t epoch; /* of where names are looked up, from before that */
    bool fresh;
    bool last_only_parent; /* path_walk_parent(): the last name is not looked up */
};

/* Takes the next name off `rest`; empty at its end. */
static inline struct name next_name(const char **rest)
{
    const char *at = *rest;
    struct name name;

    while (*at == '/')
        at++;
    name.text = at;
    name.size = (size_t)(strchrnul(at, '/') - at);
    *rest = at + name.size;
    return name;
}

static inline bool nothing_left(const char *rest)
{
    return rest[strspn(rest, "/")] == '\0';
}

static inline bool name_is(struct name name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.text, text, name.size) == 0;
}

static inline bool walk_is_plain(struct name name)
{
    return !name_is(name, ".") && !name_is(name, "..");
}

/* `to` is taken over. */
static inline void walk_go_to(struct walk *w, struct path to)
{
    path_unref(&w->at);
    w->at = to;
}

/* Prepares a walk of `name`; the caller ends it with walk_end(), also after an error. */
int walk_begin(struct walk *w, struct fs_context *fs, const struct path *start, const char *name,
               unsigned flags);
void walk_end(struct walk *w);
/* Walks until the path is used up; with last_only_parent, until the last name, left in w->rest. */
int walk_names(struct walk *w, unsigned flags, struct file **ret_file);
/* `link` (its reference is taken over) is a symbolic link in w->at; ret_file as walk_result. */
int walk_follow(struct walk *w, struct dentry *link, struct file **ret_file);
/* Enters what is mounted upon w->at. */
int walk_cross_down(struct walk *w);
/*
 * Looks up `first` and, as far as that goes at once, what follows it in w->rest. *ret_link, if it
 * stops at one: the symbolic link, referenced, with w->at its directory and w->rest behind it.
 */
int walk_step_down(struct walk *w, struct name first, struct dentry **ret_link);
/* May `dir` be searched? Elsewhere the file system's lookup() checks it on the way. */
int walk_search_permission(const struct path *dir);

#endif

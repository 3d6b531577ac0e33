#include "runtime/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "loader/loader.h"
#include "runtime/options.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/path/open.h"

static const char *find_variable(const char *const *envp, const char *name)
{
    size_t size = strlen(name);

    for (; *envp; envp++) {
        if (strncmp(*envp, name, size) == 0 && (*envp)[size] == '=')
            return *envp + size + 1;
    }
    return NULL;
}

static int open_one(struct fs_context *fs, const char *path, struct file **ret_file)
{
    return vfs_open_exec(fs, NULL, path, WALK_FOLLOW, ret_file);
}

int program_open(struct fs_context *fs, const char *name, const char *const *envp,
                 char ret_path[PATH_MAX], struct file **ret_file)
{
    const char *dir = find_variable(envp, "PATH");
    int result = -ENOENT;

    if (strchr(name, '/') || name[0] == '\0') {
        if (snprintf(ret_path, PATH_MAX, "%s", name) >= PATH_MAX)
            return -ENAMETOOLONG;
        return open_one(fs, name, ret_file);
    }
    if (!dir)
        dir = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (;;) {
        size_t size = strcspn(dir, ":");
        int err;

        /* An empty entry is the working directory. */
        if (snprintf(ret_path, PATH_MAX, "%.*s%s%s", (int)size, dir, size ? "/" : "", name) <
            PATH_MAX) {
            err = open_one(fs, ret_path, ret_file);
            if (err == 0)
                return 0;
            if (err == -EACCES)
                result = err;
            else if (err != -ENOENT && err != -ENOTDIR)
                return err;
        }
        if (dir[size] == '\0')
            return result;
        dir += size + 1;
    }
}

const char *program_denied(struct fs_context *fs, const char *path)
{
    const char *words = loader_open_words(-EACCES);
    struct walk_result found;
    uint32_t mode;

    if (path_walk(fs, NULL, path, WALK_FOLLOW, &found))
        return words;
    if (!found.file) {
        mode = found.path.dentry->inode->mode;
        if (S_ISDIR(mode))
            words = loader_open_words(-EISDIR);
        else if (!S_ISREG(mode))
            words = "not a regular file";
        else if (!(mode & 0111))
            words = "no execute permission";
    }
    walk_result_unref(&found);
    return words;
}

int program_failed(const char *name, int err, const char *why)
{
    log_error("%s: %s", name, why && *why ? why : loader_open_words(err));
    return err == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXEC;
}

/* Where `entry`'s variable is in env, or the end. */
static size_t variable_index(const char **env, size_t count, const char *entry)
{
    size_t size = (size_t)(strchr(entry, '=') - entry) + 1;

    for (size_t i = 0; i < count; i++) {
        if (strncmp(env[i], entry, size) == 0)
            return i;
    }
    return count;
}

const char **program_environment(bool clear, const char *const *added)
{
    size_t count = 0, room = 1;
    const char **env;

    for (size_t i = 0; !clear && environ[i]; i++)
        room++;
    for (size_t i = 0; added && added[i]; i++)
        room++;
    env = calloc(room, sizeof(*env));
    if (!env)
        return NULL;
    for (size_t i = 0; !clear && environ[i]; i++)
        env[count++] = environ[i];
    for (size_t i = 0; added && added[i]; i++) {
        size_t at = variable_index(env, count, added[i]);

        env[at] = added[i];
        if (at == count)
            count++;
    }
    return env;
}

/* The objects of Landlock: rules being collected, and domains. */
#include "sentry/vfs/landlock/landlock.h"

#include <errno.h>
#include <stdlib.h>

#include "sentry/vfs/landlock/landlock_internal.h"

static uint32_t rules_in_use; /* atomic: of all rulesets and domains */

static bool take_rules(uint32_t count)
{
    if (__atomic_add_fetch(&rules_in_use, count, __ATOMIC_RELAXED) <= LANDLOCK_RULES_ALL)
        return true;
    __atomic_sub_fetch(&rules_in_use, count, __ATOMIC_RELAXED);
    return false;
}

struct landlock_rules *landlock_rules_create(uint32_t fs, uint32_t net, uint32_t scope)
{
    struct landlock_rules *rules = calloc(1, sizeof(*rules));

    if (rules)
        *rules = (struct landlock_rules){.fs = fs, .net = net, .scope = scope, .lock = LOCK_INIT};
    return rules;
}

static void free_list(struct landlock_rule *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!list[i].inode)
            continue;
        inode_unref(list[i].inode);
        super_unref(list[i].sb);
    }
    __atomic_sub_fetch(&rules_in_use, count, __ATOMIC_RELAXED);
    free(list);
}

void landlock_rules_free(struct landlock_rules *rules)
{
    if (!rules)
        return;
    free_list(rules->list, rules->count);
    lock_destroy(&rules->lock);
    free(rules);
}

uint32_t landlock_rules_fs(const struct landlock_rules *rules)
{
    return rules->fs;
}

uint32_t landlock_rules_net(const struct landlock_rules *rules)
{
    return rules->net;
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* Ports come first, then objects by their file system and number. */
static int compare_rules(const struct landlock_rule *a, const struct landlock_rule *b)
{
    int order = compare((uintptr_t)a->sb, (uintptr_t)b->sb);

    if (order == 0)
        order = compare(a->dev, b->dev);
    return order ? order : compare(a->key, b->key);
}

/* Where it is in the ascending list, or belongs. */
static uint32_t place(const struct landlock_rule *list, uint32_t count,
                      const struct landlock_rule *wanted)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (compare_rules(&list[middle], wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t landlock_rule_granted(const struct landlock_rule *list, uint32_t count,
                               const struct landlock_rule *wanted)
{
    uint32_t at = place(list, count, wanted);

    return at < count && compare_rules(&list[at], wanted) == 0 ? list[at].rights : 0;
}

static int insert_locked(struct landlock_rules *rules, const struct landlock_rule *rule)
{
    uint32_t at = place(rules->list, rules->count, rule);

    if (at < rules->count && compare_rules(&rules->list[at], rule) == 0) {
        rules->list[at].rights |= rule->rights;
        return 0;
    }
    if (rules->count >= LANDLOCK_RULES_MAX)
        return -E2BIG;
    if (rules->count == rules->room) {
        uint32_t room = MAX(8u, rules->room * 2);
        struct landlock_rule *list = realloc(rules->list, room * sizeof(*list));

        if (!list)
            return -ENOMEM;
        rules->list = list;
        rules->room = room;
    }
    if (!take_rules(1))
        return -ENOMEM;
    for (uint32_t i = rules->count; i > at; i--)
        rules->list[i] = rules->list[i - 1];
    rules->list[at] = *rule;
    if (rule->inode) {
        inode_ref(rule->inode);
        super_ref(rule->sb);
    }
    rules->count++;
    return 0;
}

static int insert(struct landlock_rules *rules, const struct landlock_rule *rule)
{
    int err;

    lock_acquire(&rules->lock);
    err = insert_locked(rules, rule);
    lock_release(&rules->lock);
    return err;
}

int landlock_rules_add_path(struct landlock_rules *rules, const struct path *path, uint32_t rights)
{
    struct landlock_rule rule = landlock_rule_of(path->dentry);

    if (inode_type(path->dentry->inode) != S_IFDIR && (rights & ~(uint32_t)LANDLOCK_FS_FILE))
        return -EINVAL;
    rule.inode = path->dentry->inode;
    rule.rights = rights;
    return insert(rules, &rule);
}

int landlock_rules_add_port(struct landlock_rules *rules, uint16_t port, uint32_t rights)
{
    const struct landlock_rule rule = {.key = port, .rights = rights};

    return insert(rules, &rule);
}

/* A copy of the rules, whose objects are referenced once more. */
static int copy_rules(struct landlock_rules *rules, struct landlock_domain *domain)
{
    int err = 0;

    lock_acquire(&rules->lock);
    if (rules->count > 0 && !take_rules(rules->count)) {
        err = -ENOMEM;
    } else if (rules->count > 0) {
        domain->list = malloc(rules->count * sizeof(*domain->list));
        if (!domain->list) {
            __atomic_sub_fetch(&rules_in_use, rules->count, __ATOMIC_RELAXED);
            err = -ENOMEM;
        } else {
            domain->count = rules->count;
        }
    }
    for (uint32_t i = 0; i < domain->count; i++) {
        domain->list[i] = rules->list[i];
        if (domain->list[i].inode) {
            inode_ref(domain->list[i].inode);
            super_ref(domain->list[i].sb);
        }
    }
    lock_release(&rules->lock);
    return err;
}

int landlock_domain_create(struct landlock_domain *parent, struct landlock_rules *rules,
                           struct landlock_domain **ret)
{
    struct landlock_domain *domain;
    int err;

    if (parent && parent->depth >= LANDLOCK_LAYERS_MAX)
        return -E2BIG;
    domain = calloc(1, sizeof(*domain));
    if (!domain)
        return -ENOMEM;
    err = copy_rules(rules, domain);
    if (err < 0) {
        free(domain);
        return err;
    }
    refcount_set(&domain->refs, 1);
    domain->parent = landlock_domain_ref(parent);
    domain->depth = parent ? parent->depth + 1 : 1;
    domain->fs = rules->fs;
    domain->net = rules->net;
    domain->scope = rules->scope;
    domain->any_fs = rules->fs || (parent && parent->any_fs);
    *ret = domain;
    return 0;
}

struct landlock_domain *landlock_domain_ref(struct landlock_domain *domain)
{
    if (domain)
        refcount_get(&domain->refs);
    return domain;
}

struct landlock_domain *landlock_domain_unref(struct landlock_domain *domain)
{
    while (domain && refcount_put(&domain->refs)) {
        struct landlock_domain *parent = domain->parent;

        free_list(domain->list, domain->count);
        free(domain);
        domain = parent;
    }
    return NULL;
}

bool landlock_contains(const struct landlock_domain *above, const struct landlock_domain *below)
{
    if (!above)
        return true;
    for (; below; below = below->parent)
        if (below == above)
            return true;
    return false;
}

/* domain_is_scoped(): a layer of `from` that scopes must be one of `to` as well. */
bool landlock_scoped(const struct landlock_domain *from, const struct landlock_domain *to,
                     uint32_t scope)
{
    for (; from; from = from->parent)
        if ((from->scope & scope) && !landlock_contains(from, to))
            return true;
    return false;
}

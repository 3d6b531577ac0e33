#include "tests/platform/harness.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define WORLD_MEMORY (64UL << 20)

bool check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
    va_list ap;

    printf("    %s:%d: %s: ", file, line, cond);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    return false;
}

static void must(const char *what, int err)
{
    if (err >= 0)
        return;
    printf("    harness: %s: %s\n", what, strerror(-err));
    exit(1);
}

void world_create(struct world *w, const struct platform_ops *ops)
{
    w->ops = ops;
    must("memfile_create", memfile_create(WORLD_MEMORY, &w->mf));
    must("create", ops->create(w->mf, &w->p));
}

void world_destroy(struct world *w)
{
    w->ops->destroy(w->p);
    memfile_destroy(w->mf);
}

struct memfile_range page_alloc(struct world *w)
{
    struct memfile_range page;

    must("memfile_alloc", memfile_alloc(w->mf, PAGE_SIZE, PAGE_SIZE, &page));
    return page;
}

void page_free(struct world *w, struct memfile_range page)
{
    memfile_unref(w->mf, page);
}

void page_map(struct space *s, uaddr_t addr, int prot, struct memfile_range page)
{
    must("as_map", s->w->ops->as_map(s->as, addr, prot, page));
}

void page_unmap(struct space *s, uaddr_t addr)
{
    must("as_unmap", s->w->ops->as_unmap(s->as, addr, PAGE_SIZE));
}

uint64_t *page_words(struct world *w, struct memfile_range page)
{
    return memfile_ptr(w->mf, page.start);
}

void space_make(struct world *w, struct space *ret)
{
    ret->w = w;
    must("as_create", w->ops->as_create(w->p, NULL, &ret->as));
    ret->code = page_alloc(w);
    ret->stack = page_alloc(w);
    ret->data = page_alloc(w);
    memcpy(page_words(w, ret->code), guests, (size_t)(guests_end - guests));
    page_map(ret, CODE_ADDR, PROT_READ | PROT_EXEC, ret->code);
    page_map(ret, STACK_ADDR, PROT_READ | PROT_WRITE, ret->stack);
    page_map(ret, DATA_ADDR, PROT_READ | PROT_WRITE, ret->data);
}

void space_free(struct space *s)
{
    s->w->ops->as_destroy(s->as);
    page_free(s->w, s->code);
    page_free(s->w, s->stack);
    page_free(s->w, s->data);
}

uaddr_t guest_addr(const uint8_t *symbol)
{
    return CODE_ADDR + (uaddr_t)(symbol - guests);
}

struct context *context_at(struct world *w, const uint8_t *entry)
{
    struct context *ctx;

    must("ctx_create", w->ops->ctx_create(w->p, &ctx));
    ctx->regs.rip = guest_addr(entry);
    ctx->regs.rsp = STACK_TOP;
    ctx->regs.rflags = RFLAGS_FIXED;
    return ctx;
}

const char *trap_name(enum trap trap)
{
    static const char *const names[] = {"syscall", "fault", "exception", "interrupt", "killed"};

    return (unsigned int)trap < ARRAY_COUNT(names) ? names[trap] : "?";
}

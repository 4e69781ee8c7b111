/*
 * hooks.h
 *		How pure C allocates memory and notices interrupts.
 *
 * The defaults are malloc, free and "never interrupted", so that unit tests
 * need no server. src/pg/pg_hooks.c installs palloc and
 * CHECK_FOR_INTERRUPTS for backends: there alloc and interrupt may longjmp
 * out of the caller, so pure C that runs in a backend holds nothing but
 * memory from alloc. In compute workers interrupt returns true when the job
 * was cancelled, and the caller returns RS_CANCELLED.
 */
#ifndef RECSYS_HOOKS_H
#define RECSYS_HOOKS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct MathHooks
{
	void *(*alloc)(size_t bytes); /* NULL or longjmp when there is no memory */
	void (*release)(void *ptr);   /* NULL is allowed */
	bool (*interrupt)(void);      /* true: stop as soon as possible */
} MathHooks;

extern MathHooks math_hooks;

extern void *math_alloc(size_t bytes);
extern void *math_alloc_zero(size_t bytes);
/* n * size with an overflow check; NULL on overflow */
extern void *math_alloc_array(size_t n, size_t size);
extern void math_release(void *ptr);
extern bool math_interrupted(void);

#endif

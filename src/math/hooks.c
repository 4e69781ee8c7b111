/*
 * hooks.c
 *		The default hooks, for unit tests and compute workers.
 */
#include "math/hooks.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *
default_alloc(size_t bytes)
{
	size_t rounded = (bytes + 63) & ~(size_t) 63;

	if (rounded < bytes)
		return NULL;
	return aligned_alloc(64, rounded ? rounded : 64);
}

static bool
default_interrupt(void)
{
	return false;
}

MathHooks math_hooks = {default_alloc, free, default_interrupt};

void *
math_alloc(size_t bytes)
{
	return math_hooks.alloc(bytes);
}

void *
math_alloc_zero(size_t bytes)
{
	void *ptr = math_hooks.alloc(bytes);

	if (ptr != NULL)
		memset(ptr, 0, bytes);
	return ptr;
}

void *
math_alloc_array(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return math_hooks.alloc(bytes);
}

void
math_release(void *ptr)
{
	math_hooks.release(ptr);
}

bool
math_interrupted(void)
{
	return math_hooks.interrupt();
}

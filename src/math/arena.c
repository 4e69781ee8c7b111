/*
 * arena.c
 *		A bump allocator over shared memory.
 */
#include "math/arena.h"

#include <stdint.h>

void
arena_init(Arena *arena, void *base, size_t size)
{
	arena->base = base;
	arena->size = size;
	arena->used = 0;
}

size_t
arena_need(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - 63)
		return SIZE_MAX / 2;
	return (bytes + 63) & ~(size_t) 63;
}

void *
arena_alloc(Arena *arena, size_t n, size_t size)
{
	size_t bytes = arena_need(n, size);
	void *ptr;

	if (bytes > arena->size - arena->used)
		return NULL;
	ptr = arena->base + arena->used;
	arena->used += bytes;
	return ptr;
}

size_t
arena_mark(const Arena *arena)
{
	return arena->used;
}

void
arena_reset(Arena *arena, size_t mark)
{
	arena->used = mark;
}

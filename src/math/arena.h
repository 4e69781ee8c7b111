/*
 * arena.h
 *		A bump allocator over a block of memory that a team shares.
 *
 * Every member of a team runs the same sequence of arena_alloc calls over
 * the same shared block and so computes the same addresses without talking
 * to the others. Memory is zero at the start; nothing is freed singly,
 * arena_mark and arena_reset give back everything after a mark (and then
 * the memory is no longer zero).
 */
#ifndef RECSYS_ARENA_H
#define RECSYS_ARENA_H

#include <stddef.h>

typedef struct Arena
{
	char *base;  /* 64-byte aligned */
	size_t size; /* bytes */
	size_t used; /* bytes, a multiple of 64 */
} Arena;

extern void arena_init(Arena *arena, void *base, size_t size);
/* NULL when the arena is full or n * size overflows */
extern void *arena_alloc(Arena *arena, size_t n, size_t size);
extern size_t arena_mark(const Arena *arena);
extern void arena_reset(Arena *arena, size_t mark);
/* bytes that arena_alloc(n, size) takes: for sizing an arena beforehand */
extern size_t arena_need(size_t n, size_t size);

#endif

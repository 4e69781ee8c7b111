/*
 * ann_check.h
 *		A walk over every row of an index, for check and statistics.
 */
#ifndef RECSYS_ANN_CHECK_H
#define RECSYS_ANN_CHECK_H

#include "postgres.h"

#include "index/ann.h"

typedef struct AnnWalk AnnWalk;

struct AnnWalk
{
	Relation index;
	AnnMeta meta;
	AnnCache *cache; /* a copy of the walker's own */
	BlockNumber (*blocks_now)(AnnWalk *walk);
	/* slot of the head page, at of the tail page; both locked for share */
	void (*row)(AnnWalk *walk, Page head, Page tail, BlockNumber block,
				uint32 cell, int slot, int at);
	uint64 rows, dead, pages, leaves;
};

/* opens and locks index and table for reading; 42809 for other relations,
 * 42501 for those of others */
extern Relation ann_open_index(Oid oid, Relation *heap);
extern void ann_walk_begin(AnnWalk *walk, Relation index);
extern void ann_walk_chain(AnnWalk *walk, uint32 cell);

#endif

/*
 * ann_check.h
 *		A walk over every row of an index, for check and statistics.
 */
#ifndef RECSYS_ANN_CHECK_H
#define RECSYS_ANN_CHECK_H

#include "postgres.h"

#include "index/ann.h"
#include "utils/snapshot.h"

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
	/* after each leaf, without locks; or NULL */
	void (*leaf)(AnnWalk *walk);
	uint64 rows, dead, pages, leaves;
};

/* opens and locks index and table for reading; 42809 for other relations,
 * 42501 for those of others */
extern Relation ann_open_index(Oid oid, Relation *heap);
extern void ann_walk_begin(AnnWalk *walk, Relation index);
extern void ann_walk_chain(AnnWalk *walk, uint32 cell);

/* ann_check_rows.c: what the index says of the rows of its table */
typedef struct AnnRowCheck AnnRowCheck;

extern AnnRowCheck *ann_rows_begin(const AnnWalk *walk);
/* an entry, while its page is locked; then, without locks, those noted */
extern void ann_rows_note(AnnRowCheck *check, const AnnRow *row,
						  BlockNumber block, uint32 cell, int slot);
extern void ann_rows_flush(AnnRowCheck *check);
/*
 * All entries against the rows that the snapshot sees; XX002 for what does not
 * fit. The snapshot is older than the first entry. Returns the length of the
 * longest row that has bounds and is in the log.
 */
extern double ann_rows_compare(AnnRowCheck *check, Relation heap,
							   Snapshot snapshot);

#endif

/*
 * rank_batch.h
 *		Shuffled batches of rated pairs, with their distinct users and items.
 *
 * The training rows are shuffled once and cut into batches. For each batch
 * the distinct users get local numbers 0 .. n-1 in order of appearance, and
 * so do the items; the rows of each are listed. A learner can then do work
 * by user or by item once instead of for each row.
 */
#ifndef RECSYS_RANK_BATCH_H
#define RECSYS_RANK_BATCH_H

#include "model/rank_common.h"

/* users (side 0) or items (side 1) of one batch */
typedef struct RankGroup
{
	int n;          /* distinct */
	int32_t *id;    /* (n) user or item */
	int32_t *ptr;   /* (n + 1) into row */
	int32_t *row;   /* rows of the batch, by local number, ascending */
	int32_t *local; /* (rows of the batch) local number of each row */
} RankGroup;

typedef struct RankBatch
{
	int n;                 /* rows */
	float *target;         /* (n) */
	const uint32_t *place; /* (n) rows of the data set, or NULL */
	RankGroup side[2];
} RankBatch;

/* shared arrays over all rows; batch b starts at b * size */
typedef struct RankBatches
{
	int64_t n;
	int size;
	int n_batches;
	float *target;
	uint32_t *place;     /* (n) rows of the data set; NULL unless asked for */
	int32_t *n_distinct; /* (n_batches, 2) */
	int32_t *id[2];
	int32_t *ptr[2]; /* one more a batch than rows */
	int32_t *row[2];
	int32_t *local[2];
} RankBatches;

/* allocate for at most n rows; a dry arena measures */
extern bool rank_batches_layout(RankBatches *b, Arena *arena, int64_t n,
								int size, bool places);
/* target = (rank_target - shift) / scale */
extern RsStatus rank_batches_build(RankBatches *b, RankRun *run, double shift,
								   double scale);
extern void rank_batch_get(const RankBatches *b, int k, RankBatch *batch);

/* this member's local numbers [*from, *to): about equal numbers of rows */
extern void rank_group_part(const RankGroup *g, int rows, const Team *team,
							int *from, int *to);

#endif

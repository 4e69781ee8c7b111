/*
 * dataset.h
 *		Interactions in canonical order, by user and by item.
 *
 * dataset_build turns the rows of a JobInput, which come in any order and
 * with duplicates, into two compressed lists: by user with items ascending,
 * and by item with users ascending. The order of the input rows does not
 * matter, except where rows of one (user, item) have equal times. Of such
 * rows the last counts, or with DatasetOptions.repeats each of them.
 *
 * A split (split.h) moves the held-out interactions of each user behind the
 * training ones, without copying:
 *
 *	item:	| u0 train | u0 held | u1 train | u1 held | ...
 *			user_ptr[0] user_end[0]  user_ptr[1]
 *
 * and the same by item. Within each part the order stays ascending. Without
 * a split user_end[u] == user_ptr[u + 1]. A learner takes DatasetSide, which
 * is either the training part or all interactions of one side.
 */
#ifndef RECSYS_DATASET_H
#define RECSYS_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/job.h"

#define DATASET_MOST UINT32_MAX /* input rows */

typedef struct Dataset
{
	int32_t n_users;
	int32_t n_items;
	int64_t n;            /* interactions, duplicates resolved */
	int64_t n_duplicates; /* rows that were dropped */
	int64_t n_filtered;   /* rows that were no positives */
	int64_t n_held;       /* of n: held out by a split */

	int64_t *user_ptr; /* (n_users + 1) */
	int64_t *user_end; /* (n_users) end of the training part */
	int32_t *item;     /* (n) */
	float *rating;     /* (n), NULL: implicit feedback, not counted */
	double *time;      /* (n), NULL: none */
	uint32_t *source;  /* (n) row of the input; NULL unless asked */

	int64_t *item_ptr; /* (n_items + 1) */
	int64_t *item_end; /* (n_items) end of the training part */
	int32_t *user;     /* (n) */
	int64_t *row;      /* (n) place in the list by user; NULL unless asked */
} Dataset;

/* interactions of one side: those of row r are index[ptr[r] .. end[r]-1] */
typedef struct DatasetSide
{
	int32_t n_rows;
	int32_t n_cols;
	const int64_t *ptr;
	const int64_t *end;
	const int32_t *index;
} DatasetSide;

typedef struct DatasetOptions
{
	bool repeats; /* keep every row, however often the pair occurs */
	bool ratings; /* want rating[] when the input has it */
	bool counts;  /* without ratings: rating[] = rows of the pair */
	bool times;   /* want time[] when the input has it */
	bool rows;    /* want row[] */
	bool sources; /* want source[] */
	bool consume; /* the input's users are not read again: may be overwritten */
	JobPositive positive_kind; /* as in JobConfig */
	float positive_value;
} DatasetOptions;

/* arena bytes that dataset_build keeps, and needs on top while it runs */
extern size_t dataset_size(const JobInput *in, const DatasetOptions *opt);
extern size_t dataset_scratch(const JobInput *in);

/* called by the whole team; every member gets the same Dataset */
extern RsStatus dataset_build(Team *team, Arena *arena, JobShared *job,
							  const DatasetOptions *opt, Dataset *ds);

/* build the lists by item anew, after a split has moved interactions */
extern RsStatus dataset_by_item(Team *team, Dataset *ds);

/* all: training and held-out parts together */
extern DatasetSide dataset_users(const Dataset *ds, bool all);
extern DatasetSide dataset_items(const Dataset *ds, bool all);

#endif

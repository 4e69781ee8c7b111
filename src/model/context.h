/*
 * context.h
 *		Features of the occasion: time, place, device of an interaction.
 *
 * They come as a row of encoded columns for each input row (JobFeatures in
 * JobInput.context). Where several input rows are of one user and item, the
 * context is that of the row which the data set kept: the latest by time,
 * else the last one.
 */
#ifndef RECSYS_CONTEXT_H
#define RECSYS_CONTEXT_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"
#include "model/job.h"

/* entries of interaction r: context_from(c, r) .. context_to(c, r) - 1 */
typedef struct Context
{
	int32_t n_cols;
	int n_groups;
	const int32_t *group_start; /* (n_groups + 1) */
	const int64_t *ptr;         /* by input row */
	const int32_t *col;
	const float *val;
	const uint32_t *source; /* (n) input row of each interaction; NULL: the
							 * same */
} Context;

/* the same by column, of training interactions alone */
typedef struct ContextColumns
{
	int64_t *ptr;  /* (n_cols + 2) */
	uint32_t *row; /* (nnz) interactions, rising */
	float *val;    /* (nnz) */
} ContextColumns;

static inline int64_t
context_from(const Context *c, int64_t r)
{
	return c->ptr[c->source != NULL ? c->source[r] : r];
}

static inline int64_t
context_to(const Context *c, int64_t r)
{
	return c->ptr[(c->source != NULL ? c->source[r] : r) + 1];
}

/* of a data set with source[], which follows interactions through a split */
extern void context_find(const JobShared *job, const Dataset *ds, Context *c);

/* a dry arena measures */
extern bool context_columns_layout(ContextColumns *by, Arena *arena,
								   const JobFeatures *f);
/* one member; all: held-out interactions as well */
extern void context_columns_fill(ContextColumns *by, const Context *c,
								 const Dataset *ds, bool all);

/*
 * Take the mean out of what columns add, rows (n_cols, dim): where every
 * training interaction has the same sum s of a group's values (no NULL, one
 * value a row), the group's mean addition goes to mean (dim), which is
 * added to, and mean / s is taken from each row. Then a context that is not
 * told counts as the average one. One member.
 */
extern void context_center(const Context *c, const ContextColumns *by,
						   const Dataset *ds, bool all, int dim, float *rows,
						   float *mean);

#endif

/*
 * rank_context.h
 *		Biases of the context: what a place or an hour adds to every rating.
 *
 *	rating - mean - b[user] - b[item] ~ sum_c x[c] b[c], ridge
 *
 * fitted by coordinate descent beside the damped biases of users and items
 * (rank_common.h). For learners whose own step does not know the context.
 */
#ifndef RECSYS_RANK_CONTEXT_H
#define RECSYS_RANK_CONTEXT_H

#include "model/rank_common.h"

typedef struct RankContext
{
	ContextColumns by;
	float *bias; /* (n_cols) shared */
	float *left; /* (n) what is not explained yet, of training rows */
} RankContext;

/* a dry arena measures */
extern bool rank_context_layout(RankContext *x, Arena *arena,
								const JobInput *in);
/* by rank 0, all members after the barrier */
extern RsStatus rank_context_fit(RankContext *x, RankRun *run,
								 const RankBias *bias);
/* sum_c x[c] b[c] of row r, 0 without context */
extern float rank_context_offset(const RankContext *x, const RankRun *run,
								 int64_t r);

#endif

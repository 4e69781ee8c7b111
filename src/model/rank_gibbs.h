/*
 * rank_gibbs.h
 *		The ranking learner by Gibbs sampling.
 */
#ifndef RECSYS_RANK_GIBBS_H
#define RECSYS_RANK_GIBBS_H

#include "model/rank_common.h"

/*
 * For measuring what the served form loses: pairs whose predictions are
 * averaged over the samples exactly. Set before the run by a benchmark with
 * one worker; NULL otherwise.
 */
typedef struct GibbsProbe
{
	int64_t n;
	const int32_t *user;
	const int32_t *item;
	double *sum;    /* (n) of ratings predicted by each sample */
	double *score;  /* (n) of scores */
	double *square; /* (n) of squared scores */
	double samples; /* seen */
} GibbsProbe;

extern GibbsProbe *gibbs_probe;

extern size_t rank_gibbs_size(const JobConfig *config, const JobInput *input,
							  int workers);
extern RsStatus rank_gibbs_run(RankRun *run, RankBias *bias);

#endif

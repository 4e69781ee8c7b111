/*
 * rank_sgd.h
 *		The quick ranking learner for very large tables: biased matrix
 *		factorization by stochastic gradient descent.
 */
#ifndef RECSYS_RANK_SGD_H
#define RECSYS_RANK_SGD_H

#include "model/rank_common.h"

extern size_t rank_sgd_size(const JobConfig *config, const JobInput *input,
							int workers);
extern RsStatus rank_sgd_run(RankRun *run, RankBias *bias);

#endif

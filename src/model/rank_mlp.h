/*
 * rank_mlp.h
 *		The ranking learner by gradient: a rating network over two vectors.
 */
#ifndef RECSYS_RANK_MLP_H
#define RECSYS_RANK_MLP_H

#include "model/rank_common.h"

extern size_t rank_mlp_size(const JobConfig *config, const JobInput *input,
							int workers);
extern RsStatus rank_mlp_run(RankRun *run, RankBias *bias);

#endif

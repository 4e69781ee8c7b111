/*
 * ranking.h
 *		The ranking stage: learners that predict a rating.
 */
#ifndef RECSYS_RANKING_H
#define RECSYS_RANKING_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"
#include "model/job.h"

/* arena bytes that ranking_run needs at most; the dataset not included */
extern size_t ranking_arena_size(const JobConfig *config, const JobInput *input,
								 int workers);

/*
 * Called by every member with the same dataset: all interactions with
 * ratings (duplicates resolved), rows[] present, split done (n_held may be
 * 0). Fills the ranking part of job->output; limit as in retrieval_run.
 */
extern RsStatus ranking_run(Team *team, JobShared *job, Arena *arena,
							const Dataset *ds, double limit);

#endif

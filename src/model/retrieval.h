/*
 * retrieval.h
 *		The retrieval stage: learners that rank items for a user.
 */
#ifndef RECSYS_RETRIEVAL_H
#define RECSYS_RETRIEVAL_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"
#include "model/job.h"

/* arena bytes that retrieval_run needs at most; the dataset not included */
extern size_t retrieval_arena_size(const JobConfig *config,
								   const JobInput *input, int workers);

/* what of the input the dataset of this stage must have */
extern void retrieval_dataset_options(const JobConfig *config,
									  const JobInput *in, DatasetOptions *opt);

/*
 * Train on ds (which may have a validation part) and fill the retrieval part
 * of job->output. Called by every member; start is the clock of job_run, limit
 * by when the stage should have ended (INFINITY: whenever).
 */
extern RsStatus retrieval_run(Team *team, JobShared *job, Arena *arena,
							  Dataset *ds, double start, double limit);

#endif

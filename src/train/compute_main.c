/*
 * compute_main.c
 *		Entry of recsys_train.so: the mathematics of one compute worker.
 *
 * Called by train_worker.c with both blocks attached. No call of the server
 * happens in here but through the interrupt hook.
 */
#include "postgres.h"

#include "fmgr.h"

#include "math/blas.h"
#include "math/hooks.h"
#include "math/team.h"
#include "train/train.h"

PG_MODULE_MAGIC;

PGDLLEXPORT RsStatus recsys_compute_main(TrainCompute *compute);

RsStatus
recsys_compute_main(TrainCompute *compute)
{
	JobShared *job = compute->job;
	Team team = {&job->team, compute->rank, compute->size};
	RsStatus status;

	if (job->magic != JOB_MAGIC)
		return RS_INTERNAL;
	math_hooks.interrupt = compute->interrupt;
	compute->blas_problem = blas_use_openblas();
	status = job_run(&team, job);
	/* whoever fails alone must not leave the others at a barrier */
	if (status != RS_OK)
		team_stop(&team, status);
	return status;
}

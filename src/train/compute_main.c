/*
 * compute_main.c
 *		Entries of recsys_train.so: the mathematics of one compute worker.
 *
 * Called by train_worker.c: recsys_compute_prepare while the leader still
 * reads, recsys_compute_main with both blocks attached. No call of the
 * server happens in here but through the interrupt hook.
 */
#include "postgres.h"

#include <sys/mman.h>

#include "fmgr.h"

#include "math/blas.h"
#include "math/hooks.h"
#include "math/team.h"
#include "train/train.h"

PG_MODULE_MAGIC;

/* what OpenBLAS maps for its one thread at the first call, and some more */
#define BLAS_ROOM ((size_t) 160 * 1024 * 1024)

PGDLLEXPORT RsStatus recsys_compute_prepare(TrainCompute *compute);
PGDLLEXPORT RsStatus recsys_compute_main(TrainCompute *compute);

/* where mmap fails, OpenBLAS would try again for ever */
static bool
is_room_for_blas(void)
{
	void *room = mmap(NULL, BLAS_ROOM, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return false;
	(void) munmap(room, BLAS_ROOM);
	return true;
}

RsStatus
recsys_compute_prepare(TrainCompute *compute)
{
	math_hooks.interrupt = compute->interrupt;
	if (!is_room_for_blas())
		return RS_NO_MEMORY;
	compute->blas_problem = blas_use_openblas();
	return RS_OK;
}

RsStatus
recsys_compute_main(TrainCompute *compute)
{
	JobShared *job = compute->job;
	Team team = {&job->team, compute->rank, compute->size};
	RsStatus status;

	if (job->magic != JOB_MAGIC)
		return RS_INTERNAL;
	status = job_run(&team, job);
	/* whoever fails alone must not leave the others at a barrier */
	if (status != RS_OK)
		team_stop(&team, status);
	return status;
}

/*
 * train_worker.c
 *		A compute worker, up to the point where recsys_train.so takes over.
 *
 * Runs in a background worker that has shared memory but no database.
 * OPENBLAS_NUM_THREADS=1 must be in the environment before recsys_train.so
 * is loaded, since OpenBLAS starts its threads when it is mapped; this is
 * why the worker starts here and not there.
 */
#include "postgres.h"

#include <stdlib.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "train/train.h"

typedef RsStatus (*ComputeEntry)(TrainCompute *compute);

static TrainControl *control;
static TrainWorker *me;

PGDLLEXPORT void recsys_train_worker(Datum main_arg);

/* asked by the mathematics at least every 50 ms */
static bool
told_to_stop(void)
{
	if (ShutdownRequestPending ||
		__atomic_load_n(&control->stop, __ATOMIC_ACQUIRE) != 0)
		return true;
	return !PostmasterIsAlive();
}

static void
tell_leader(TrainWorkerState state)
{
	__atomic_store_n(&me->state, (int32) state, __ATOMIC_RELEASE);
	SetLatch(&ProcGlobal->allProcs[control->leader_proc].procLatch);
}

static ComputeEntry
load_entry(const char *name)
{
	return (ComputeEntry) load_external_function("$libdir/recsys_train", name,
												 true, NULL);
}

/* OpenBLAS is mapped, given its memory and checked before there is data */
static void
prepare(TrainCompute *work, int rank)
{
	work->rank = rank;
	work->interrupt = told_to_stop;
	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	if (load_entry("recsys_compute_prepare")(work) != RS_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not map 160 MB for OpenBLAS"),
				 errhint("Look at vm.overcommit_memory and at the limit of "
						 "address space.")));
	if (work->blas_problem != NULL)
		strlcpy(me->message, work->blas_problem, sizeof(me->message));
}

/* false when the training ended before it began */
static bool
wait_for_data(void)
{
	while (__atomic_load_n(&control->ready, __ATOMIC_ACQUIRE) == 0)
	{
		if (told_to_stop())
			return false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	return !told_to_stop();
}

static void
compute(int rank)
{
	TrainCompute work = {0};
	dsm_segment *data;

	prepare(&work, rank);
	tell_leader(TRAIN_WORKER_READY);
	/* sent home: there is too little work for all */
	if (!wait_for_data() || rank >= control->n_workers)
		return;
	data = dsm_attach(control->data);
	if (data == NULL)
		return;
	work.job = dsm_segment_address(data);
	work.size = control->n_workers;
	me->status = (int32) load_entry("recsys_compute_main")(&work);
	tell_leader(TRAIN_WORKER_DONE);
}

/* what went wrong, for the leader's message; the log gets it too */
static void
report_failure(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	me->sqlerrcode = error->sqlerrcode;
	strlcpy(me->message, error->message ? error->message : "",
			sizeof(me->message));
	tell_leader(TRAIN_WORKER_FAILED);
}

void
recsys_train_worker(Datum main_arg)
{
	MemoryContext context;
	dsm_segment *segment;
	int rank;

	memcpy(&rank, MyBgworkerEntry->bgw_extra, sizeof(rank));
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	context = AllocSetContextCreate(TopMemoryContext, "recsys compute worker",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	segment = dsm_attach(DatumGetUInt32(main_arg));
	/* the leader has gone already */
	if (segment == NULL)
		return;
	control = dsm_segment_address(segment);
	if (control->magic != TRAIN_MAGIC)
		elog(ERROR, "control block has a wrong magic number");
	me = &control->worker[rank];
	me->proc = (int32) (MyProc - ProcGlobal->allProcs);
	PG_TRY();
	{
		compute(rank);
	}
	PG_CATCH();
	{
		report_failure(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

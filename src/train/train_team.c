/*
 * train_team.c
 *		The leader's side of a team of compute workers.
 *
 * train_team_start makes the control block and asks for the workers; they
 * load their libraries while the leader reads. train_team_run lets them go
 * and waits. Whatever ends the leader (an error, a cancel, the end of its
 * session) detaches the control block, and that raises the stop flag in it,
 * which every worker sees within 50 ms. train_team_stop is the orderly end.
 *
 *	asked --libraries loaded--> ready --job_run--> done
 *	  \------------------------- error ----------> failed
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/dsm_impl.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "pg/pg_compat.h"
#include "pg/pg_hooks.h"
#include "pg/pg_module.h"
#include "train/train.h"
#include "train/train_progress.h"

#define WAIT_MS 200

static void
raise_stop(dsm_segment *segment, Datum arg)
{
	TrainControl *control = dsm_segment_address(segment);

	__atomic_store_n(&control->stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < TEAM_MAX; i++)
		if (control->worker[i].state != TRAIN_WORKER_ASKED)
			SetLatch(&ProcGlobal->allProcs[control->worker[i].proc].procLatch);
}

static bool
ask_for_worker(TrainTeam *team, int rank)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg =
		UInt32GetDatum(dsm_segment_handle(team->control_segment));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "$libdir/recsys", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "recsys_train_worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "recsys compute worker", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "recsys compute worker %d of %d",
			 rank, MyProcPid);
	memcpy(worker.bgw_extra, &rank, sizeof(rank));
	return RegisterDynamicBackgroundWorker(&worker, &team->handle[rank]);
}

static void
no_workers(int wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no background worker is free for training"),
			 errdetail("Asked for %d.", wanted),
			 errhint("Raise max_worker_processes (now %d), or wait until "
					 "other workers have ended.",
					 max_worker_processes)));
}

/*
 * exact: fail unless all of the workers can be had; otherwise one is enough.
 * Memory comes from the current context, the control block belongs to the
 * current resource owner.
 */
void
train_team_start(TrainTeam *team, int workers, bool exact)
{
	TrainControl *control;

	memset(team, 0, sizeof(*team));
	team->control_segment = dsm_create(sizeof(TrainControl), 0);
	control = dsm_segment_address(team->control_segment);
	memset(control, 0, sizeof(*control));
	control->magic = TRAIN_MAGIC;
	control->leader_proc = (int32) (MyProc - ProcGlobal->allProcs);
	team->control = control;
	on_dsm_detach(team->control_segment, raise_stop, (Datum) 0);
	while (team->size < workers && ask_for_worker(team, team->size))
		control->n_workers = team->asked = ++team->size;
	if (team->size == 0 || (exact && team->size < workers))
		no_workers(workers);
	if (team->size < workers)
		train_tell(NOTICE,
				   psprintf("training with %d of %d workers, since no more are "
							"free",
							team->size, workers),
				   NULL, NULL);
}

/* the work is too little for all: the last ones are sent home */
void
train_team_shrink(TrainTeam *team, int size)
{
	if (size >= team->size)
		return;
	team->size = size;
	team->control->n_workers = size;
}

static void
check_worker(TrainTeam *team, int rank)
{
	TrainWorker *w = &team->control->worker[rank];
	int32 state = __atomic_load_n(&w->state, __ATOMIC_ACQUIRE);
	pid_t pid;

	if (state == TRAIN_WORKER_FAILED)
		ereport(ERROR,
				(errcode(w->sqlerrcode),
				 errmsg("a compute worker failed: %.*s",
						pg_mbcliplen(w->message, (int) strlen(w->message),
									 (int) strlen(w->message)),
						w->message)));
	if (state != TRAIN_WORKER_DONE &&
		GetBackgroundWorkerPid(team->handle[rank], &pid) == BGWH_STOPPED &&
		__atomic_load_n(&w->state, __ATOMIC_ACQUIRE) < TRAIN_WORKER_DONE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a compute worker ended before its work was done"),
				 errhint("The server's log may say why.")));
}

/* true when every worker is in that state; raises what went wrong */
static bool
all_workers(TrainTeam *team, TrainWorkerState state)
{
	bool all = true;

	for (int i = 0; i < team->size; i++)
	{
		check_worker(team, i);
		all &= __atomic_load_n(&team->control->worker[i].state,
							   __ATOMIC_ACQUIRE) == (int32) state;
	}
	return all;
}

static void
check_deadline(TimestampTz deadline)
{
	if (deadline != 0 && GetCurrentTimestamp() >= deadline)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("training took longer than allowed"),
						errhint("The limit is recsys.max_train_time.")));
}

/*
 * A client that was killed says nothing, and a leader that sends nothing
 * would not notice until the end.
 */
static void
check_client(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
	{
		ClientConnectionLost = true;
		InterruptPending = true;
		CHECK_FOR_INTERRUPTS();
	}
}

static void
wait_for(TrainTeam *team, TrainWorkerState state, TimestampTz deadline)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (all_workers(team, state))
			return;
		check_deadline(deadline);
		check_client();
		train_progress_update(team->job);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 WAIT_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* the self-check of a worker found OpenBLAS wrong, and plain C computed */
static void
warn_of_blas(const TrainTeam *team)
{
	const TrainWorker *w = &team->control->worker[0];

	if (w->message[0] != '\0')
		train_tell(WARNING,
				   psprintf("trained without OpenBLAS: %s", w->message),
				   "The model is right, training was slower.", NULL);
}

RsStatus
train_team_status(const TrainTeam *team)
{
	RsStatus status = RS_OK;

	for (int i = 0; i < team->size; i++)
	{
		RsStatus s = (RsStatus) team->control->worker[i].status;

		/* cancelled may only echo what stopped another one */
		if (s != RS_OK && (status == RS_OK || status == RS_CANCELLED))
			status = s;
	}
	return status;
}

void
train_team_check(const TrainTeam *team)
{
	RsStatus status = train_team_status(team);

	warn_of_blas(team);
	if (status == RS_CANCELLED)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("training was cancelled"),
						errdetail("A compute worker was told to end.")));
	if (status != RS_OK)
		pg_throw_status(status, "training failed", team->job->output.problem);
}

/* the data block is complete: compute, and wait for the end */
void
train_team_run(TrainTeam *team, TimestampTz deadline)
{
	TrainControl *control = team->control;

	control->data = dsm_segment_handle(team->data_segment);
	__atomic_store_n(&control->ready, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < team->asked; i++)
		if (control->worker[i].state == TRAIN_WORKER_READY)
			SetLatch(&ProcGlobal->allProcs[control->worker[i].proc].procLatch);
	wait_for(team, TRAIN_WORKER_DONE, deadline);
}

/* instead of train_team_run: workers that wait for data go home */
void
train_team_abandon(TrainTeam *team)
{
	raise_stop(team->control_segment, (Datum) 0);
	train_team_stop(team);
}

/* after train_team_run: nothing of the team remains */
void
train_team_stop(TrainTeam *team)
{
	for (int i = 0; i < team->asked; i++)
		(void) WaitForBackgroundWorkerShutdown(team->handle[i]);
	if (team->data_segment != NULL)
		dsm_detach(team->data_segment);
	dsm_detach(team->control_segment);
}

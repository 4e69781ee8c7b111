/*
 * train_progress.c
 *		Trainings that run now: the shared table, and who may see and stop.
 */
#include "postgres.h"

#include <math.h>
#include <signal.h>

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/pg_compat.h"
#include "store/store_catalog.h"
#include "train/train_progress.h"

#define MAX_RUNS 32

/* seconds after which epochs are told by NOTICE */
#define NOTICE_AFTER 4.0

typedef struct Run
{
	int pid; /* 0: free, or failed when there is a problem */
	Oid database;
	Oid role;
	Oid schema;
	NameData name;
	TimestampTz started;
	TimestampTz phase_started;
	int64 interactions; /* of the input */
	JobProgress progress;
	char problem[400];
} Run;

typedef struct RunTable
{
	slock_t mutex; /* of everything below; held for copies only */
	Run run[MAX_RUNS];
} RunTable;

static RunTable *table = NULL;
static Run *mine = NULL;
static int told = 0; /* log entries told by NOTICE */
static TimestampTz told_at = 0;

static RunTable *
run_table(void)
{
	bool found;
	char name[SHMEM_INDEX_KEYSIZE];

	if (table != NULL)
		return table;
	/* where another build was installed, old sessions keep to theirs */
	snprintf(name, sizeof(name), "recsys trainings %zu", sizeof(RunTable));
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	table = ShmemInitStruct(name, sizeof(RunTable), &found);
	if (!found)
	{
		memset(table, 0, sizeof(RunTable));
		SpinLockInit(&table->mutex);
	}
	LWLockRelease(AddinShmemInitLock);
	return table;
}

/* a training within another one, by a view that trains, gives way to it again */
static void
leave(dsm_segment *segment, Datum arg)
{
	Run *run = (Run *) DatumGetPointer(arg);

	/* who waits for it in vain should see why */
	if (proc_exit_inprogress && MyBgworkerEntry != NULL && mine == run &&
		train_progress_failed("the training's session was terminated", true))
		return;
	mine = NULL;
	SpinLockAcquire(&table->mutex);
	/* a failure stays, and may have been another's entry since */
	if (run->pid == MyProcPid)
		memset(run, 0, sizeof(*run));
	for (int i = 0; i < MAX_RUNS; i++)
		if (table->run[i].pid == MyProcPid &&
			(mine == NULL || table->run[i].started > mine->started))
			mine = &table->run[i];
	SpinLockRelease(&table->mutex);
}

static bool
same_model(const Run *a, const Run *b)
{
	return a->database == b->database && a->schema == b->schema &&
		   strcmp(NameStr(a->name), NameStr(b->name)) == 0;
}

/* a free entry, else that of the oldest failure; old failures of run go */
static Run *
choose_entry(RunTable *t, const Run *run)
{
	Run *best = NULL;

	for (int i = 0; i < MAX_RUNS; i++)
	{
		Run *r = &t->run[i];

		if (r->pid != 0)
			continue;
		if (same_model(r, run))
			memset(r, 0, sizeof(*r));
		if (best == NULL || r->started < best->started)
			best = r;
	}
	return best;
}

/* a training beyond the table's size runs all the same, unseen */
void
train_progress_begin(const TrainArgs *args, Oid role, dsm_segment *segment)
{
	Run run = {0};
	RunTable *t = run_table();

	run.pid = MyProcPid;
	run.database = MyDatabaseId;
	run.role = role;
	run.schema = args->schema;
	run.name = args->name;
	run.started = GetCurrentTimestamp();
	strlcpy(run.progress.phase, "starting", sizeof(run.progress.phase));
	told = 0;
	SpinLockAcquire(&t->mutex);
	mine = choose_entry(t, &run);
	if (mine != NULL)
		*mine = run;
	SpinLockRelease(&t->mutex);
	if (mine != NULL && segment != NULL)
		on_dsm_detach(segment, leave, PointerGetDatum(mine));
}

bool
train_progress_failed(const char *problem, bool cancelled)
{
	char text[sizeof(mine->problem)];

	if (mine == NULL)
		return false;
	train_copy_message(text, sizeof(text),
					   problem != NULL ? problem : "unknown");
	SpinLockAcquire(&table->mutex);
	mine->pid = 0;
	strcpy(mine->problem, text);
	strlcpy(mine->progress.phase, cancelled ? "cancelled" : "failed",
			sizeof(mine->progress.phase));
	SpinLockRelease(&table->mutex);
	mine = NULL;
	return true;
}

void
train_progress_phase(const char *phase)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&table->mutex);
	strlcpy(mine->progress.phase, phase, sizeof(mine->progress.phase));
	SpinLockRelease(&table->mutex);
}

void
train_progress_rows(int64 rows)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&table->mutex);
	mine->progress.batch = rows;
	SpinLockRelease(&table->mutex);
}

/* after some seconds of silence the newest epoch, at most once a second */
static void
tell_epoch(const JobShared *job, TimestampTz now)
{
	int n = __atomic_load_n(&job->n_log, __ATOMIC_ACQUIRE);
	const JobLog *log = &job->log[n - 1];

	if (n <= told || now - mine->started < NOTICE_AFTER * USECS_PER_SEC ||
		now - told_at < USECS_PER_SEC)
		return;
	told = n;
	told_at = now;
	if (log->metric[0] != '\0')
		ereport(NOTICE, (errmsg("%s, epoch %d: loss %.4g, %s %.4g, %.1f s",
								log->stage, log->epoch, log->train_loss,
								log->metric, log->value, log->seconds)));
	else
		ereport(NOTICE, (errmsg("%s, epoch %d: loss %.4g, %.1f s", log->stage,
								log->epoch, log->train_loss, log->seconds)));
}

void
train_progress_update(const JobShared *job)
{
	TimestampTz now;

	if (mine == NULL || job == NULL)
		return;
	now = GetCurrentTimestamp();
	SpinLockAcquire(&table->mutex);
	if (strncmp(mine->progress.phase, job->progress.phase,
				sizeof(mine->progress.phase)) != 0)
		mine->phase_started = now;
	mine->progress = job->progress;
	mine->interactions = job->input.n;
	SpinLockRelease(&table->mutex);
	tell_epoch(job, now);
}

/* as for pg_cancel_backend: the same role, a member, or pg_signal_backend */
static bool
may_signal(Oid role)
{
	if (superuser_arg(role) && !superuser())
		return false;
	return has_privs_of_role(GetUserId(), role) ||
		   has_privs_of_role(GetUserId(), ROLE_PG_SIGNAL_BACKEND);
}

static bool
may_see(Oid role)
{
	return has_privs_of_role(GetUserId(), role) ||
		   has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

static double
share_done(const JobProgress *p)
{
	double epoch;

	if (p->epochs <= 0 || p->epoch <= 0)
		return 0;
	epoch = p->epoch - 1;
	if (p->batches > 0)
		epoch += (double) p->batch / (double) p->batches;
	return Min(epoch / p->epochs, 1.0);
}

/* interactions a second since the phase began, unless the job says it */
static double
rate_of(const Run *run)
{
	const JobProgress *p = &run->progress;
	double seconds =
		(double) (GetCurrentTimestamp() - run->phase_started) / USECS_PER_SEC;

	if (p->rate > 0 || seconds <= 0)
		return p->rate;
	return share_done(p) * p->epochs * (double) run->interactions / seconds;
}

static void
put_run(ReturnSetInfo *set, const Run *run)
{
	Datum v[15];
	bool nulls[15] = {false};
	const JobProgress *p = &run->progress;
	double seconds =
		(double) (GetCurrentTimestamp() - run->started) / USECS_PER_SEC;
	double share = share_done(p);
	char *name = get_namespace_name(run->schema);
	NameData schema;

	v[0] = Int32GetDatum(run->pid);
	namestrcpy(&schema, name != NULL ? name : "");
	v[1] = NameGetDatum(&schema);
	nulls[1] = name == NULL;
	v[2] = NameGetDatum(&run->name);
	v[3] = ObjectIdGetDatum(run->role);
	v[4] = CStringGetTextDatum(pnstrdup(p->phase, sizeof(p->phase)));
	v[5] = Int32GetDatum(p->epoch);
	v[6] = Int32GetDatum(p->epochs);
	v[7] = Int64GetDatum(p->batch);
	v[8] = Int64GetDatum(p->batches);
	v[9] = Float8GetDatum(p->loss);
	v[10] = Float8GetDatum(rate_of(run));
	v[11] = TimestampTzGetDatum(run->started);
	v[12] = Float8GetDatum(seconds);
	v[13] = Float8GetDatum(share > 0 ? seconds * (1 - share) / share : 0);
	nulls[9] = p->epoch == 0 || isnan(p->loss);
	nulls[13] = share <= 0;
	v[14] = CStringGetTextDatum(run->problem);
	nulls[14] = run->problem[0] == '\0';
	nulls[0] = run->pid == 0;
	tuplestore_putvalues(set->setResult, set->setDesc, v, nulls);
}

PG_FUNCTION_INFO_V1(recsys_progress_rows);
Datum
recsys_progress_rows(PG_FUNCTION_ARGS)
{
	RunTable *t = run_table();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MAX_RUNS; i++)
	{
		Run run;

		SpinLockAcquire(&t->mutex);
		run = t->run[i];
		SpinLockRelease(&t->mutex);
		if ((run.pid != 0 || run.problem[0] != '\0') &&
			run.database == MyDatabaseId && may_see(run.role))
			put_run((ReturnSetInfo *) fcinfo->resultinfo, &run);
	}
	return (Datum) 0;
}

/* unqualified names stand for any schema of the search path */
static bool
is_wanted(const Run *run, const char *schema, const char *name)
{
	Oid path[64];
	int n;

	if (run->pid == 0 || run->database != MyDatabaseId ||
		strcmp(NameStr(run->name), name) != 0)
		return false;
	if (schema != NULL)
		return run->schema == get_namespace_oid(schema, true);
	n = Min(fetch_search_path_array(path, lengthof(path)),
			(int) lengthof(path));
	for (int i = 0; i < n; i++)
		if (path[i] == run->schema)
			return true;
	return false;
}

/*
 * The signal is sent while the entry is locked and hence its pid is still
 * that of a leader. SIGINT only: the leader cancels its statement, and its
 * workers see the stop flag.
 */
static int
cancel_run(RunTable *t, int i, const char *schema, const char *name)
{
	Run *run = &t->run[i];
	Run seen;
	int result = 0;

	SpinLockAcquire(&t->mutex);
	seen = *run;
	SpinLockRelease(&t->mutex);
	if (!is_wanted(&seen, schema, name))
		return 0;
	if (!may_signal(seen.role))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to cancel the training of \"%s\"", name),
			 errdetail("It was started by another role.")));
	SpinLockAcquire(&t->mutex);
	if (run->pid == seen.pid && run->started == seen.started)
		result = kill(run->pid, SIGINT) == 0;
	SpinLockRelease(&t->mutex);
	return result;
}

PG_FUNCTION_INFO_V1(recsys_cancel);
Datum
recsys_cancel(PG_FUNCTION_ARGS)
{
	RunTable *t = run_table();
	char *schema;
	char *name;
	int cancelled = 0;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("model must not be NULL")));
	store_parse_name(text_to_cstring(PG_GETARG_TEXT_PP(0)), &schema, &name);
	for (int i = 0; i < MAX_RUNS; i++)
		cancelled += cancel_run(t, i, schema, name);
	PG_RETURN_BOOL(cancelled > 0);
}

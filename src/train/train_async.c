/*
 * train_async.c
 *		wait => false: the leader is a background worker.
 *
 * The caller puts its checked arguments and who it is into a small shared
 * block, starts the leader and waits until that has connected, taken the
 * model's lock and begun, or says why not. The leader then goes on by
 * itself: it reads in one transaction, computes in none (no snapshot, no
 * lock on any table), and publishes in another.
 *
 *	sent --connected, locked--> begun --read, compute, publish--> exit
 *	   \------- error -------> refused          \---- error ----> failed
 *
 * recsys_tune goes the same way: its trials come before the training that is
 * published, and each reads in a transaction of its own.
 *
 * The leader connects as the caller's session user and acts as its current
 * user, so that roles without LOGIN work; as long as the two differ, nothing
 * that it runs can get back to the session user.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "pg/pg_compat.h"
#include "pg/pg_module.h"
#include "store/store_publish.h"
#include "train/train.h"
#include "train/train_progress.h"

#define REQUEST_MAGIC 0x72657175

typedef enum RequestState
{
	REQUEST_SENT = 0,
	REQUEST_BEGUN,
	REQUEST_REFUSED
} RequestState;

typedef struct TrainRequest
{
	uint32 magic;
	int32 state;
	int32 caller_proc;
	Oid database;
	Oid session_user;
	Oid current_user;
	bool row_security;
	int train_memory;
	int max_workers;
	int sqlerrcode;
	char message[256];
	char detail[256];
	char hint[256];
	TrainArgs args;
	bool tunes;
	TrainTune tune;
	char space[FLEXIBLE_ARRAY_MEMBER]; /* of recsys_tune, jsonb as text */
} TrainRequest;

PGDLLEXPORT void recsys_train_leader(Datum main_arg);

/* ---- the caller ---- */

static void
refuse_temporary(Oid relation, const char *what)
{
	if (OidIsValid(relation) &&
		get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s: cannot train in the background from the "
							   "temporary table \"%s\"",
							   what, get_rel_name(relation)),
						errhint("Use wait => true.")));
}

/* the leader is a session of its own */
static void
warn_of_uncommitted(void)
{
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(WARNING,
				(errmsg("the training does not see what this transaction has "
						"written"),
				 errdetail("In the background it reads what is committed, and "
						   "a ROLLBACK here does not undo it."),
				 errhint("Commit first, or use wait => true.")));
}

static void
fill_request(TrainRequest *request, const TrainArgs *args,
			 const TrainTune *tune, const char *space)
{
	memset(request, 0, sizeof(*request));
	strcpy(request->space, space);
	request->tunes = tune != NULL;
	if (tune != NULL)
		request->tune = *tune;
	request->magic = REQUEST_MAGIC;
	request->caller_proc = (int32) (MyProc - ProcGlobal->allProcs);
	request->database = MyDatabaseId;
	request->session_user = GetSessionUserId();
	request->current_user = GetUserId();
	request->row_security = row_security;
	request->train_memory = recsys_train_memory;
	request->max_workers = recsys_max_workers;
	request->args = *args;
}

static BackgroundWorkerHandle *
start_leader(dsm_segment *segment, const char *model)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;

	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "$libdir/recsys", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "recsys_train_leader", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "recsys training leader", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "recsys training of %s", model);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is free for training"),
				 errhint("Raise max_worker_processes (now %d), or wait until "
						 "other workers have ended.",
						 max_worker_processes)));
	return handle;
}

static void
wait_until_begun(TrainRequest *request, BackgroundWorkerHandle *handle)
{
	for (;;)
	{
		int32 state;
		pid_t pid;
		bool stopped = GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;

		state = __atomic_load_n(&request->state, __ATOMIC_ACQUIRE);
		if (state == REQUEST_BEGUN)
			return;
		if (state == REQUEST_REFUSED)
			ereport(
				ERROR,
				(errcode(request->sqlerrcode), errmsg("%s", request->message),
				 request->detail[0] != '\0' ? errdetail("%s", request->detail)
											: 0,
				 request->hint[0] != '\0' ? errhint("%s", request->hint) : 0));
		if (stopped)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the training's leader ended before it began"),
					 errdetail("The role \"%s\" may not be allowed to log in, "
							   "or the database not to be connected to.",
							   GetUserNameFromId(request->session_user, false)),
					 errhint("The server's log says why.")));
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 500,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
train_async_start(const TrainArgs *args, const TrainTune *tune,
				  const char *space)
{
	dsm_segment *segment;
	TrainRequest *request;
	BackgroundWorkerHandle *handle;

	refuse_temporary(args->ratings, "ratings");
	refuse_temporary(args->users, "users");
	refuse_temporary(args->items, "items");
	warn_of_uncommitted();
	segment = dsm_create(sizeof(TrainRequest) + strlen(space) + 1, 0);
	request = dsm_segment_address(segment);
	fill_request(request, args, tune, space);
	handle = start_leader(segment, NameStr(args->name));
	wait_until_begun(request, handle);
	dsm_detach(segment);
}

/* ---- the leader ---- */

static TrainRequest request; /* our copy, without the space */
static char *request_space;
static bool begun; /* the caller has gone, and so may the block have */

static void
answer(dsm_segment *segment, RequestState state)
{
	TrainRequest *shared = dsm_segment_address(segment);

	begun = state == REQUEST_BEGUN;

	__atomic_store_n(&shared->state, (int32) state, __ATOMIC_RELEASE);
	SetLatch(&ProcGlobal->allProcs[shared->caller_proc].procLatch);
}

static void
set_option(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_SESSION);
}

static void
copy_settings(void)
{
	set_option("row_security", request.row_security ? "on" : "off");
	set_option("search_path", "pg_catalog, pg_temp");
	/* the caller could write: refused else */
	set_option("default_transaction_read_only", "off");
	/* defined by recsys.so, hence there */
	set_option("recsys.train_memory", psprintf("%d", request.train_memory));
	set_option("recsys.max_workers", psprintf("%d", request.max_workers));
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (request.current_user != request.session_user)
		SetUserIdAndSecContext(request.current_user,
							   SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
}

static void
end_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (request.current_user != request.session_user)
		SetUserIdAndSecContext(request.session_user, 0);
}

/* things may have changed since the arguments were checked */
static void
check_again(void)
{
	const TrainArgs *args = &request.args;

	train_check_tables(args, false);
	if (get_namespace_name(args->schema) == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
						errmsg("the model's schema was dropped")));
}

/* rows and features, in one transaction */
static void
read_input(const TrainArgs *args, TrainInput *input)
{
	MemoryContext context = CurrentMemoryContext;

	begin_transaction();
	MemoryContextSwitchTo(context);
	check_again();
	train_check_tables(args, true);
	train_columns_check(args);
	train_read(args, input);
	end_transaction();
	MemoryContextSwitchTo(context);
}

static void
publish(const TrainInput *input, const JobShared *job, TimestampTz started)
{
	TrainResult result;

	begin_transaction();
	check_again();
	/* without a snapshot, which REINDEX CONCURRENTLY would wait for */
	PopActiveSnapshot();
	store_reserve(request.args.schema, NameStr(request.args.name));
	PushActiveSnapshot(GetTransactionSnapshot());
	check_again();
	train_publish(&request.args, input, job,
				  (double) (GetCurrentTimestamp() - started) / USECS_PER_SEC,
				  &result);
	end_transaction();
	ereport(LOG, (errmsg("recsys: trained version %d of model \"%s\"",
						 result.version, NameStr(request.args.name))));
}

static void
begin(dsm_segment *segment)
{
	answer(segment, REQUEST_BEGUN);
	dsm_detach(segment);
}

static void
lead(dsm_segment *segment)
{
	const TrainArgs *args = &request.args;
	MemoryContext context = CurrentMemoryContext;
	TimestampTz started = GetCurrentTimestamp();
	TimestampTz reading;
	JobLog *log = NULL;
	int n_log = 0;
	TrainTeam team;
	TrainInput input;
	TrainNotices notices;

	begin_transaction();
	store_lock(args->schema, NameStr(args->name), true, false);
	end_transaction();
	MemoryContextSwitchTo(context);
	if (request.tunes)
	{
		begin(segment);
		n_log = train_tune_choose(&request.args, &request.tune, request_space,
								  &log);
	}
	train_tell_begin(&notices, args);
	train_team_start(&team, train_workers_wanted(args), args->workers > 0);
	train_progress_begin(args, request.current_user, team.control_segment);
	if (!begun)
		begin(segment);
	train_progress_phase("reading");
	reading = GetCurrentTimestamp();
	read_input(args, &input);
	train_team_shrink(&team, train_workers_useful(args, &input));
	train_segment_make(&team, args, &input);
	train_take_time(team.job, reading);
	train_team_run(&team, train_deadline(args, started));
	train_team_check(&team);
	train_tell_result(args, &input.rows, team.job);
	for (int i = 0; i < n_log && team.job->n_log < JOB_MAX_LOG; i++)
		team.job->log[team.job->n_log++] = log[i];
	publish(&input, team.job, started);
	train_team_stop(&team);
}

/* a message may say little without its detail: "training failed" */
static char *
problem_of(const ErrorData *error)
{
	const char *message = error->message != NULL ? error->message : "unknown";

	return error->detail != NULL ? psprintf("%s: %s", message, error->detail)
								 : pstrdup(message);
}

static void
keep_text(char *to, size_t size, const char *text)
{
	train_copy_message(to, (int) size, text != NULL ? text : "");
}

static void
tell_failure(dsm_segment *segment, MemoryContext context)
{
	TrainRequest *shared;
	ErrorData *error;
	bool cancelled;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;
	if (train_progress_failed(problem_of(error), cancelled))
		return;
	if (begun)
	{
		/* between two trials there is no entry */
		train_progress_begin(&request.args, request.current_user, NULL);
		(void) train_progress_failed(problem_of(error), cancelled);
		return;
	}
	shared = dsm_segment_address(segment);
	shared->sqlerrcode = error->sqlerrcode;
	keep_text(shared->message, sizeof(shared->message), error->message);
	keep_text(shared->detail, sizeof(shared->detail), error->detail);
	keep_text(shared->hint, sizeof(shared->hint), error->hint);
	answer(segment, REQUEST_REFUSED);
}

void
recsys_train_leader(Datum main_arg)
{
	MemoryContext context;
	dsm_segment *segment;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	context = AllocSetContextCreate(TopMemoryContext, "recsys leader",
									ALLOCSET_DEFAULT_SIZES);
	segment = dsm_attach(DatumGetUInt32(main_arg));
	/* the caller has gone already */
	if (segment == NULL)
		return;
	memcpy(&request, dsm_segment_address(segment), sizeof(request));
	request_space = MemoryContextStrdup(
		context, ((TrainRequest *) dsm_segment_address(segment))->space);
	train_leader.read = read_input;
	train_leader.role = request.current_user;
	if (request.magic != REQUEST_MAGIC)
		elog(ERROR, "request has a wrong magic number");
	BackgroundWorkerInitializeConnectionByOid(request.database,
											  request.session_user, 0);
	MemoryContextSwitchTo(context);
	copy_settings();
	PG_TRY();
	{
		lead(segment);
	}
	PG_CATCH();
	{
		tell_failure(segment, context);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

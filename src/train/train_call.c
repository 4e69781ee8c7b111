/*
 * train_call.c
 *		The SQL function recsys_train, and what leaders have in common.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/pg_json.h"
#include "pg/pg_module.h"
#include "store/store_publish.h"
#include "train/train.h"
#include "train/train_progress.h"

/* rows from which on one more worker pays */
#define ROWS_PER_WORKER 20000

TrainLeader train_leader = {train_read, InvalidOid};

static Datum
user_key(const void *arg, int32 i)
{
	return train_keys_datum(&((const TrainRows *) arg)->users, i);
}

static Datum
item_key(const void *arg, int32 i)
{
	return train_keys_datum(&((const TrainRows *) arg)->items, i);
}

static Jsonb *
skipped_json(const TrainRows *rows, const JobOutput *out)
{
	StringInfoData json;

	pg_json_begin(&json);
	if (rows->null_key > 0)
		pg_json_number(&json, "null_key", (double) rows->null_key);
	if (rows->null_rating > 0)
		pg_json_number(&json, "null_rating", (double) rows->null_rating);
	if (rows->bad_rating > 0)
		pg_json_number(&json, "non_finite_rating", (double) rows->bad_rating);
	if (out->n_duplicates > 0)
		pg_json_number(&json, "duplicate", (double) out->n_duplicates);
	return pg_json_end(&json);
}

static Jsonb *
metrics_json(const JobOutput *out, bool baseline)
{
	StringInfoData json;

	pg_json_begin(&json);
	for (int i = 0; i < out->n_metrics; i++)
	{
		const JobMetric *m = &out->metrics[i];

		pg_json_number(&json,
					   m->k > 0 ? psprintf("%s@%d", m->name, m->k)
								: pstrdup(m->name),
					   baseline ? m->baseline : m->value);
	}
	return pg_json_end(&json);
}

static bool
is_temporary(Oid relation)
{
	return OidIsValid(relation) &&
		   get_rel_persistence(relation) == RELPERSISTENCE_TEMP;
}

void
train_publish(const TrainArgs *args, const TrainInput *input,
			  const JobShared *job, double seconds, TrainResult *result)
{
	const TrainRows *rows = &input->rows;
	TrainArgs settled = *args;
	StorePublish p = {.schema = args->schema,
					  .name = NameStr(args->name),
					  .ratings = args->ratings,
					  .user_col = NameStr(args->user_col),
					  .item_col = NameStr(args->item_col),
					  .rating_col = NameStr(args->rating_col),
					  .time_col = NameStr(args->time_col),
					  .user_type = rows->users.type,
					  .item_type = rows->items.type,
					  .user_collation = rows->users.collation,
					  .item_collation = rows->items.collation,
					  .job = job,
					  .user_key = user_key,
					  .item_key = item_key,
					  .user_arg = rows,
					  .item_arg = rows,
					  .user_features = args->users,
					  .item_features = args->items,
					  .n_user_features = input->users.n_features,
					  .n_item_features = input->items.n_features,
					  .user_feature = input->users.feature,
					  .item_feature = input->items.feature,
					  .n_context_features = input->context.n_features,
					  .context_feature = input->context.feature,
					  .seconds = seconds};

	train_progress_phase("publishing");
	/* a temporary table means nothing to other sessions, nor to a dump */
	if (is_temporary(args->ratings))
	{
		p.ratings = InvalidOid;
		p.temporary = args->ratings;
		train_tell(NOTICE,
				   psprintf("\"%s\" is temporary: other sessions will not know "
							"what has been seen",
							get_rel_name(args->ratings)),
				   NULL,
				   "They need exclude_seen => false, or a model that was "
				   "trained from a table that stays.");
	}
	if (is_temporary(args->users))
		p.user_features = InvalidOid;
	if (is_temporary(args->items))
		p.item_features = InvalidOid;
	settled.config.positive_kind = job->config.positive_kind;
	settled.config.positive_value = job->config.positive_value;
	p.config = train_config_json(&settled);
	p.skipped = skipped_json(rows, &job->output);
	p.metrics = metrics_json(&job->output, false);
	p.baseline = metrics_json(&job->output, true);
	p.notices = train_notices != NULL ? train_notices->texts : NIL;
	result->version = store_publish(&p);
	result->users = job->input.n_users;
	result->items = job->input.n_items;
	result->interactions = job->output.n_interactions;
	result->epochs = job->output.epochs;
	result->skipped = p.skipped;
	result->metrics = p.metrics;
	result->baseline = p.baseline;
}

static double
lap(instr_time *from)
{
	instr_time now;
	instr_time gone;

	INSTR_TIME_SET_CURRENT(now);
	gone = now;
	INSTR_TIME_SUBTRACT(gone, *from);
	*from = now;
	return INSTR_TIME_GET_MILLISEC(gone);
}

int
train_workers_wanted(const TrainArgs *args)
{
	return args->workers > 0 ? args->workers : recsys_max_workers;
}

/*
 * With few rows the workers would wait for each other more than they
 * compute. The number asked for is kept, since results may depend on it.
 */
int
train_workers_useful(const TrainArgs *args, const TrainInput *input)
{
	if (args->workers > 0)
		return args->workers;
	return (int) Min(1 + input->rows.n / ROWS_PER_WORKER, TEAM_MAX);
}

TimestampTz
train_deadline(const TrainArgs *args, TimestampTz started)
{
	if (args->max_seconds <= 0)
		return 0;
	return started + (TimestampTz) (args->max_seconds * USECS_PER_SEC);
}

/* features of one side, then the order of its keys */
static void
read_side(const TrainArgs *args, TrainInput *input, bool users)
{
	TrainKeys *keys = users ? &input->rows.users : &input->rows.items;
	TrainFeatures *out = users ? &input->users : &input->items;
	Oid table = users ? args->users : args->items;
	const NameData *key = users ? &args->user_col : &args->item_col;
	const NameData *names = users ? args->user_features : args->item_features;
	int n_names = users ? args->n_user_features : args->n_item_features;
	TrainFeature *features = NULL;
	int n = 0;

	if (OidIsValid(table))
		features = train_features_read(table, NameStr(*key), keys, names,
									   n_names, users, &n);
	train_keys_sort(keys);
	if (n > 0)
		train_features_encode(features, n, keys->n, keys->rank, out);
}

/* what was read is not needed any more, and there may be much of it */
static void
read_context(TrainInput *input)
{
	TrainRows *rows = &input->rows;

	if (rows->n_features == 0)
		return;
	train_features_encode(rows->feature, rows->n_features, (int32) rows->n,
						  NULL, &input->context);
	for (int i = 0; i < rows->n_features; i++)
	{
		TrainFeature *f = &rows->feature[i];

		pfree(f->row);
		if (f->code != NULL)
			pfree(f->code);
		if (f->value != NULL)
			pfree(f->value);
		if (f->vector != NULL)
			pfree(f->vector);
	}
}

void
train_check_tables(const TrainArgs *args, bool lock)
{
	const Oid tables[3] = {args->ratings, args->users, args->items};
	static const char *const names[3] = {"ratings", "users", "items"};

	for (int i = 0; i < 3; i++)
	{
		if (!OidIsValid(tables[i]))
			continue;
		if (lock)
			LockRelationOid(tables[i], AccessShareLock);
		if (get_rel_name(tables[i]) == NULL)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
							errmsg("the table of %s is not there", names[i]),
							errdetail("It was dropped, or made by a "
									  "transaction that has not committed.")));
	}
}

/* under the active snapshot and the current role */
void
train_read(const TrainArgs *args, TrainInput *input)
{
	MemoryContext old;

	memset(input, 0, sizeof(*input));
	train_progress_phase("reading");
	train_check_tables(args, true);
	train_load(args, &input->rows);
	old = MemoryContextSwitchTo(input->rows.context);
	read_side(args, input, true);
	read_side(args, input, false);
	train_count_pairs(&input->rows);
	read_context(input);
	MemoryContextSwitchTo(old);
}

void
train_take_time(JobShared *job, TimestampTz started)
{
	double gone = (double) (GetCurrentTimestamp() - started) / USECS_PER_SEC;

	if (job->config.max_seconds > 0)
		job->config.max_seconds = Max(job->config.max_seconds - gone, 1e-3);
}

/* workers asked for, rows read, features encoded */
void
train_begin(const TrainArgs *args, TrainTeam *team, TrainInput *input,
			TrainTimes *times)
{
	instr_time clock;

	INSTR_TIME_SET_CURRENT(clock);
	train_team_start(team, train_workers_wanted(args), args->workers > 0);
	train_progress_begin(
		args, OidIsValid(train_leader.role) ? train_leader.role : GetUserId(),
		team->control_segment);
	times->launch = lap(&clock);
	train_leader.read(args, input);
	times->read = lap(&clock);
	train_team_shrink(team, train_workers_useful(args, input));
}

void
train_compute(const TrainArgs *args, TimestampTz started, TimestampTz deadline,
			  TrainTeam *team, TrainInput *input, TrainTimes *times)
{
	instr_time clock;

	INSTR_TIME_SET_CURRENT(clock);
	train_segment_make(team, args, input);
	times->fill = lap(&clock);
	train_take_time(team->job, started);
	train_team_run(team, deadline);
	times->compute = lap(&clock);
}

static void
train(const TrainArgs *args, const JobLog *more, int n_more,
	  TrainResult *result)
{
	TrainTeam team;
	TrainInput input;
	TrainTimes times;
	TimestampTz started = GetCurrentTimestamp();
	instr_time clock;

	store_lock(args->schema, NameStr(args->name), false, true);
	store_reserve(args->schema, NameStr(args->name));
	train_begin(args, &team, &input, &times);
	train_compute(args, started, train_deadline(args, started), &team, &input,
				  &times);
	train_team_check(&team);
	INSTR_TIME_SET_CURRENT(clock);
	train_tell_result(args, &input.rows, team.job);
	for (int i = 0; i < n_more && team.job->n_log < JOB_MAX_LOG; i++)
		team.job->log[team.job->n_log++] = more[i];
	train_publish(args, &input, team.job,
				  (double) (GetCurrentTimestamp() - started) / USECS_PER_SEC,
				  result);
	times.publish = lap(&clock);
	train_team_stop(&team);
	MemoryContextDelete(input.rows.context);
	result->seconds =
		(double) (GetCurrentTimestamp() - started) / USECS_PER_SEC;
	ereport(DEBUG1,
			(errmsg_internal("recsys_train: launch %.1f, read %.1f, fill "
							 "%.1f, compute %.1f, publish %.1f, end %.1f ms",
							 times.launch, times.read, times.fill,
							 times.compute, times.publish, lap(&clock))));
}

void
train_here(const TrainArgs *args, const JobLog *more, int n_more,
		   TrainResult *result)
{
	TrainNotices notices;
	/* of a training whose view trains */
	TrainNotices *outer = train_notices;

	PG_TRY();
	{
		train_tell_begin(&notices, args);
		train(args, more, n_more, result);
	}
	PG_FINALLY();
	{
		train_notices = outer;
	}
	PG_END_TRY();
}

/* the model's name as other calls take it */
static char *
callable_name(const TrainArgs *args)
{
	List *path = fetch_search_path(false);
	char *name = pstrdup(NameStr(args->name));

	if (!list_member_oid(path, args->schema))
		name =
			quote_qualified_identifier(get_namespace_name(args->schema), name);
	list_free(path);
	return name;
}

static Datum
result_row(FunctionCallInfo fcinfo, const TrainArgs *args, const TrainResult *r,
		   const char *status)
{
	TupleDesc desc;
	Datum v[11];
	bool nulls[11] = {false};
	bool done = r->metrics != NULL;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "recsys_train must return a row");
	desc = BlessTupleDesc(desc);
	memset(v, 0, sizeof(v));
	for (int i = 3; i < 11; i++)
		nulls[i] = !done;
	v[0] = CStringGetTextDatum(callable_name(args));
	v[1] = Int32GetDatum(r->version);
	nulls[1] = !done;
	v[2] = CStringGetTextDatum(status);
	v[3] = Int64GetDatum(r->users);
	v[4] = Int64GetDatum(r->items);
	v[5] = Int64GetDatum(r->interactions);
	v[6] = JsonbPGetDatum(r->skipped);
	v[7] = Int32GetDatum(r->epochs);
	v[8] = Float8GetDatum(r->seconds);
	v[9] = JsonbPGetDatum(r->metrics);
	v[10] = JsonbPGetDatum(r->baseline);
	return HeapTupleGetDatum(heap_form_tuple(desc, v, nulls));
}

PG_FUNCTION_INFO_V1(recsys_train);
Datum
recsys_train(PG_FUNCTION_ARGS)
{
	TrainArgs args;
	TrainResult result = {0};
	bool wait;

	PreventCommandIfReadOnly("recsys_train()");
	PreventCommandDuringRecovery("recsys_train()");
	train_args_from_call(fcinfo, &args, &wait);
	if (wait)
		train_here(&args, NULL, 0, &result);
	else
		train_async_start(&args, NULL, "");
	PG_RETURN_DATUM(
		result_row(fcinfo, &args, &result, wait ? "ready" : "training"));
}

/*
 * train_load.c
 *		Reading the rating table.
 *
 * A plain SELECT under the caller's role and snapshot, whose rows go into a
 * receiver of ours one by one: views, row level security, temporary tables
 * and the caller's own uncommitted rows are what they are for any query.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "datatype/timestamp.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "lib/hyperloglog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "model/dataset.h"
#include "pg/pg_module.h"
#include "train/train.h"
#include "train/train_progress.h"

/* times beyond are clamped: infinities stay comparable; any unit has room */
#define TIME_BOUND 1e300
#define FEW_REPEATED 0.9 /* pairs a row; above they count as all distinct */
#define CONTEXT_BYTES 16 /* about, of a value of the context */

typedef struct RowReceiver
{
	TrainReceiver to;
	TrainRows *rows;
	MemoryContext scratch; /* detoasted keys; reset now and then */
	Oid rating_type;       /* InvalidOid without a rating column */
	Oid time_type;
	int64 seen;
} RowReceiver;

static size_t
bytes_of_row(const TrainRows *rows)
{
	return 2 * sizeof(int32) + (rows->has_rating ? sizeof(float) : 0) +
		   (rows->has_time ? sizeof(double) : 0) +
		   (size_t) rows->n_features * CONTEXT_BYTES;
}

/* bytes used so far, against the setting */
static void
check_memory(const TrainRows *rows)
{
	size_t bytes = (size_t) (rows->n + TRAIN_CHUNK) * bytes_of_row(rows) +
				   train_keys_memory(&rows->users) +
				   train_keys_memory(&rows->items);

	if (rows->n + TRAIN_CHUNK > DATASET_MOST)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("cannot train from more than %lld ratings",
							   (long long) DATASET_MOST),
						errhint("Train from a view with fewer rows.")));
	if (bytes / 1024 > (size_t) recsys_train_memory)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("the ratings do not fit into recsys.train_memory"),
				 errdetail("After %lld rows %zu MB are needed, and %d MB "
						   "allowed.",
						   (long long) rows->n, bytes / (1024 * 1024),
						   recsys_train_memory / 1024),
				 errhint("Raise recsys.train_memory, or train from a view "
						 "with fewer rows.")));
}

static void
add_chunk(TrainRows *rows)
{
	TrainChunk *chunk;

	check_memory(rows);
	if (rows->n_chunks == rows->max_chunks)
	{
		rows->max_chunks *= 2;
		rows->chunk = repalloc_huge(rows->chunk, (Size) rows->max_chunks *
													 sizeof(TrainChunk *));
	}
	chunk = MemoryContextAlloc(rows->context, sizeof(TrainChunk));
	chunk->rating = NULL;
	chunk->time = NULL;
	rows->chunk[rows->n_chunks++] = chunk;
	if (rows->has_rating)
		chunk->rating =
			MemoryContextAlloc(rows->context, TRAIN_CHUNK * sizeof(float));
	if (rows->has_time)
		chunk->time =
			MemoryContextAlloc(rows->context, TRAIN_CHUNK * sizeof(double));
	train_progress_rows(rows->n);
}

static double
number_of(Datum value, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		case BOOLOID:
			return DatumGetBool(value) ? 1.0 : 0.0;
		default:
			return DatumGetFloat8(
				DirectFunctionCall1(numeric_float8_no_overflow, value));
	}
}

/* seconds since 1970; no time at all counts as 1970 */
static double
time_of(Datum value, bool isnull, Oid type)
{
	double epoch = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * 86400.0;
	double t;

	if (isnull)
		return 0;
	switch (type)
	{
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			t = (double) DatumGetTimestamp(value) / USECS_PER_SEC + epoch;
			break;
		case DATEOID:
			t = (double) DatumGetDateADT(value) * 86400.0 + epoch;
			break;
		default:
			t = number_of(value, type);
	}
	if (isnan(t))
		return 0;
	return Max(-TIME_BOUND, Min(t, TIME_BOUND));
}

/* the rating of a row, or NAN when the row is to be skipped (and counted) */
static float
rating_of(RowReceiver *r, Datum value, bool isnull)
{
	float x;

	if (isnull)
	{
		r->rows->null_rating++;
		return NAN;
	}
	x = (float) number_of(value, r->rating_type);
	if (isfinite(x))
		return x;
	r->rows->bad_rating++;
	return NAN;
}

/* values of the context are columns from `column` on */
static void
take_context(RowReceiver *r, TupleTableSlot *slot, int column)
{
	TrainRows *rows = r->rows;

	if (rows->n_features > 0 && rows->n >= PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("context_features allow at most %d rows",
							   PG_INT32_MAX)));
	for (int i = 0; i < rows->n_features; i++, column++)
		if (!slot->tts_isnull[column])
			train_feature_add(&rows->feature[i], (int32) rows->n,
							  slot->tts_values[column], rows->context);
}

static void
take_row(RowReceiver *r, TupleTableSlot *slot)
{
	TrainRows *rows = r->rows;
	TrainChunk *chunk;
	float rating = 0;
	int at = (int) (rows->n % TRAIN_CHUNK);
	int column = 2;

	if (slot->tts_isnull[0] || slot->tts_isnull[1])
	{
		rows->null_key++;
		return;
	}
	if (rows->has_rating)
	{
		rating = rating_of(r, slot->tts_values[2], slot->tts_isnull[2]);
		if (isnan(rating))
			return;
		column++;
	}
	if (at == 0)
		add_chunk(rows);
	chunk = rows->chunk[rows->n_chunks - 1];
	chunk->user[at] = train_keys_add(&rows->users, slot->tts_values[0]);
	chunk->item[at] = train_keys_add(&rows->items, slot->tts_values[1]);
	if (rows->has_rating)
		chunk->rating[at] = rating;
	if (rows->has_time)
	{
		chunk->time[at] = time_of(slot->tts_values[column],
								  slot->tts_isnull[column], r->time_type);
		column++;
	}
	take_context(r, slot, column);
	rows->n++;
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->scratch);

	slot_getallattrs(slot);
	take_row(r, slot);
	if ((++r->seen & 255) == 0)
	{
		MemoryContextReset(r->scratch);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old);
	return true;
}

static char *
select_text(const TrainArgs *args)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s, %s",
					 quote_identifier(NameStr(args->user_col)),
					 quote_identifier(NameStr(args->item_col)));
	if (NameStr(args->rating_col)[0] != '\0')
		appendStringInfo(&sql, ", %s",
						 quote_identifier(NameStr(args->rating_col)));
	if (NameStr(args->time_col)[0] != '\0')
		appendStringInfo(&sql, ", %s",
						 quote_identifier(NameStr(args->time_col)));
	for (int i = 0; i < args->n_context_features; i++)
		appendStringInfo(&sql, ", %s",
						 quote_identifier(NameStr(args->context_features[i])));
	appendStringInfo(&sql, " FROM %s",
					 quote_qualified_identifier(
						 get_namespace_name(get_rel_namespace(args->ratings)),
						 get_rel_name(args->ratings)));
	return sql.data;
}

static void
prepare_rows(const TrainArgs *args, TrainRows *rows, RowReceiver *r)
{
	TrainColumn column;

	memset(rows, 0, sizeof(*rows));
	rows->context = AllocSetContextCreate(CurrentMemoryContext, "recsys rows",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(rows->context);
	train_column_find(args->ratings, NameStr(args->user_col), &column);
	train_keys_init(&rows->users, &column);
	train_expect(&r->to, column.type);
	train_column_find(args->ratings, NameStr(args->item_col), &column);
	train_keys_init(&rows->items, &column);
	train_expect(&r->to, column.type);
	rows->max_chunks = 16;
	rows->chunk = palloc(16 * sizeof(TrainChunk *));
	if (NameStr(args->rating_col)[0] != '\0')
	{
		train_column_find(args->ratings, NameStr(args->rating_col), &column);
		r->rating_type = column.type;
		train_expect(&r->to, column.type);
		rows->has_rating = true;
	}
	if (NameStr(args->time_col)[0] != '\0')
	{
		train_column_find(args->ratings, NameStr(args->time_col), &column);
		r->time_type = column.type;
		train_expect(&r->to, column.type);
		rows->has_time = true;
	}
	rows->n_features = args->n_context_features;
	if (rows->n_features > 0)
		rows->feature = train_features_named(
			args->ratings, args->context_features, rows->n_features);
	for (int i = 0; i < rows->n_features; i++)
		train_expect(&r->to, rows->feature[i].column);
}

static void
too_few(const TrainRows *rows)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("not enough data to train from"),
		 errdetail("There are %lld usable rows, %d users and %d items; "
				   "%lld rows were skipped for a NULL key, %lld for a "
				   "NULL rating and %lld for one that is not finite.",
				   (long long) rows->n, rows->users.n, rows->items.n,
				   (long long) rows->null_key, (long long) rows->null_rating,
				   (long long) rows->bad_rating)));
}

/* clicks of one kind alone teach nothing */
static void
check_labels(const TrainArgs *args, const TrainRows *rows)
{
	bool first = job_label(&args->config, rows->chunk[0]->rating[0]);

	for (int64 i = 0; i < rows->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		if (job_label(&args->config,
					  rows->chunk[i / TRAIN_CHUNK]->rating[i % TRAIN_CHUNK]) !=
			first)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("all ratings count as %d for ranking_loss \"binary\"",
					first ? 1 : 0),
			 errhint("positive => 'rating >= 4' says which ratings count as 1; "
					 "without it those above 0 do.")));
}

static void
check_positive(const TrainRows *rows, const JobConfig *config)
{
	if (!config->retrieval || !rows->has_rating ||
		config->positive_kind == POSITIVE_ALL)
		return;
	for (int64 i = 0; i < rows->n; i++)
	{
		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		if (job_is_positive(
				config->positive_kind, config->positive_value,
				rows->chunk[i / TRAIN_CHUNK]->rating[i % TRAIN_CHUNK]))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("not enough data to train from"),
			 errdetail("None of %lld ratings is %s %g.", (long long) rows->n,
					   job_comparisons[config->positive_kind],
					   config->positive_value),
			 errhint("Say with positive which ratings count as "
					 "interest, or leave it out.")));
}

void
train_settle_positive(TrainRows *rows, JobConfig *config)
{
	bool above = false;
	bool below = false;

	check_positive(rows, config);
	if (!config->retrieval || !rows->has_rating ||
		config->positive_kind != POSITIVE_ALL || config->preset == PRESET_TFRS)
		return;
	for (int64 i = 0; i < rows->n && !(above && below); i++)
	{
		float rating = rows->chunk[i / TRAIN_CHUNK]->rating[i % TRAIN_CHUNK];

		if (i % TRAIN_CHUNK == 0)
			CHECK_FOR_INTERRUPTS();
		above |= rating > 0;
		below |= rating <= 0;
	}
	rows->none_above = below && !above;
	if (!above || !below)
		return;
	config->positive_kind = POSITIVE_GT;
	config->positive_value = 0;
}

/*
 * How many pairs of user and item there are, by an estimate that is .4 % off
 * at most times, and the same for any order of the rows. Learners are chosen
 * by it: a table where nearly every row is a pair of its own counts by rows.
 */
void
train_count_pairs(TrainRows *rows)
{
	hyperLogLogState state;
	double pairs;

	initHyperLogLog(&state, 16);
	for (int c = 0; c < rows->n_chunks; c++)
	{
		const TrainChunk *chunk = rows->chunk[c];
		int n = (int) Min(rows->n - (int64) c * TRAIN_CHUNK, TRAIN_CHUNK);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			int32 pair[2] = {rows->users.rank[chunk->user[i]],
							 rows->items.rank[chunk->item[i]]};

			addHyperLogLog(
				&state, hash_bytes((const unsigned char *) pair, sizeof(pair)));
		}
	}
	pairs = estimateHyperLogLog(&state);
	freeHyperLogLog(&state);
	rows->n_pairs = pairs < FEW_REPEATED * (double) rows->n
						? Max((int64) pairs, 1)
						: rows->n;
}

/*
 * Reads into memory of a context below the current one. SPI must not be
 * connected. The table may be any relation that can be selected from.
 */
void
train_load(const TrainArgs *args, TrainRows *rows)
{
	MemoryContext old = CurrentMemoryContext;
	RowReceiver *r = palloc0(sizeof(RowReceiver));

	prepare_rows(args, rows, r);
	MemoryContextSwitchTo(old);
	r->rows = rows;
	r->scratch = AllocSetContextCreate(rows->context, "recsys row",
									   ALLOCSET_DEFAULT_SIZES);
	r->to.pub.receiveSlot = receive_row;
	train_select(select_text(args), &r->to);
	MemoryContextDelete(r->scratch);
	if (rows->n == 0)
		too_few(rows);
	if (args->config.ranking && args->config.ranking_loss == LOSS_BINARY)
		check_labels(args, rows);
}

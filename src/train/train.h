/*
 * train.h
 *		One training, from the call's arguments to the published model.
 *
 *	recsys_train (train_call.c)
 *	   arguments (train_args.c, train_options.c), columns (train_columns.c)
 *	   workers asked for early, they load OpenBLAS meanwhile (train_team.c)
 *	   rows read (train_load.c), keys numbered (train_keys.c), features
 *	   encoded (train_features.c)
 *	   segment made and filled, workers let go, waited for (train_segment.c,
 *	   train_team.c)
 *	   model published (store/store_publish.c)
 *
 * Two shared blocks: the control block, made first and small, by which the
 * leader and its compute workers know of each other; and the data block,
 * made when the input has been read and its size is known (model/job.h).
 */
#ifndef RECSYS_TRAIN_H
#define RECSYS_TRAIN_H

#include "postgres.h"

#include <limits.h>

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "tcop/dest.h"
#include "utils/jsonb.h"

#include "model/job.h"
#include "store/store_publish.h"

#define TRAIN_MAX_FEATURES 32
#define TRAIN_MAX_KEY 2600 /* bytes: what fits into a btree page, less some */

/*
 * The arguments, checked. One block of plain memory, so that it can be
 * handed to a leader in another process.
 */
typedef struct TrainArgs
{
	Oid ratings;
	Oid schema;    /* where the model's tables go */
	NameData name; /* of the model */
	NameData user_col;
	NameData item_col;
	NameData rating_col; /* "" for none */
	NameData time_col;   /* "" for none */
	Oid users;           /* tables of features, InvalidOid for none */
	Oid items;
	int n_user_features; /* 0: all columns but the key, when there is users */
	int n_item_features;
	int n_context_features;
	NameData user_features[TRAIN_MAX_FEATURES];
	NameData item_features[TRAIN_MAX_FEATURES];
	NameData context_features[TRAIN_MAX_FEATURES];
	int workers;        /* 0: as many as there are */
	double max_seconds; /* wall clock, 0: no limit */
	JobConfig config;
	char guessed[6 * NAMEDATALEN]; /* which columns, in words; "": none */
} TrainArgs;

/* what a key column may hold; domains count as their base type */
typedef enum TrainKeyKind
{
	TRAIN_KEY_INT,    /* int2, int4, int8 */
	TRAIN_KEY_UUID,   /* 16 bytes */
	TRAIN_KEY_TEXT,   /* text, varchar: bytewise */
	TRAIN_KEY_NUMERIC /* by value: 1.0 is 1 */
} TrainKeyKind;

/*
 * The distinct keys of a column. Numbered in the order of appearance while
 * rows come in; train_keys_sort then gives numbers in key order.
 */
typedef struct TrainKeys
{
	MemoryContext context; /* of the arrays */
	TrainKeyKind kind;
	Oid type; /* base type */
	Oid collation;
	int32 n;
	int32 capacity;
	int64 *ints;    /* (capacity), TRAIN_KEY_INT */
	char *bytes;    /* other kinds: the values one after the other */
	size_t *offset; /* (capacity + 1) starts in bytes */
	size_t bytes_size;
	int32 *slots; /* open addressing, number + 1; 0 is free */
	uint32 n_slots;
	int32 last;   /* number found last, -1 */
	int32 *order; /* (n) by key order: number of appearance */
	int32 *rank;  /* (n) by number of appearance: place in key order */
} TrainKeys;

/* begins a receiver of rows: the columns' base types, by train_expect */
typedef struct TrainReceiver
{
	DestReceiver pub;
	Oid *type; /* (n_types) */
	int n_types;
} TrainReceiver;

/* a column as read: where it is, of which base type */
typedef struct TrainColumn
{
	NameData name;
	AttrNumber attno;
	Oid type; /* base type of a domain */
	Oid collation;
} TrainColumn;

#define TRAIN_CHUNK 65536 /* rows */

/* some rows as read, keys by their numbers of appearance */
typedef struct TrainChunk
{
	int32 user[TRAIN_CHUNK];
	int32 item[TRAIN_CHUNK];
	float *rating; /* (TRAIN_CHUNK), NULL without rating column */
	double *time;  /* (TRAIN_CHUNK), NULL without time column */
} TrainChunk;

/* all rows as read; every chunk but the last is full */
typedef struct TrainRows
{
	MemoryContext context;
	TrainKeys users;
	TrainKeys items;
	bool has_rating;
	bool none_above; /* 0: train_settle_positive */
	bool has_time;
	int64 n;
	int64 n_pairs; /* JobInput.n_pairs */
	int n_chunks;
	int max_chunks;
	TrainChunk **chunk;
	int64 null_key;
	int64 null_rating;
	int64 bad_rating;
	int n_features;
	struct TrainFeature *feature; /* (n_features) of the context; rows by
								   * number */
} TrainRows;

/*
 * A column of a table of features. While it is read: entries (row, value),
 * where row is the number of a key by appearance. Encoded: which columns of
 * the matrix it became, and by what rule.
 */
typedef struct TrainFeature
{
	NameData name;
	Oid column; /* its base type */
	Oid type;   /* of the values: base type, or that of array elements */
	bool is_array;
	bool chosen;          /* asked for by name */
	bool dropped;         /* says nothing: constant, or all different */
	TrainKeys dictionary; /* categories */
	int64 n;
	int64 capacity;
	int32 *row;       /* (n), those of one key follow each other */
	int32 *code;      /* (n) of categories */
	double *value;    /* (n) of numbers; microseconds since 2000 of times */
	float *vector;    /* (n, dim) */
	int dim;          /* of vectors, 0 before the first */
	StoreFeature out; /* what the model keeps of it */
} TrainFeature;

/* features of one side, encoded; rows in key order */
typedef struct TrainFeatures
{
	JobFeatures layout; /* offsets not set; n_rows 0 without features */
	int64 *ptr;         /* (n_rows + 1) */
	int32 *col;
	float *val;
	StoreFeature *feature; /* (n_features) those that are not dropped */
	int n_features;
} TrainFeatures;

/* all that a training reads */
typedef struct TrainInput
{
	TrainRows rows;
	TrainFeatures users;
	TrainFeatures items;
	TrainFeatures context;
} TrainInput;

typedef enum TrainWorkerState
{
	TRAIN_WORKER_ASKED = 0,
	TRAIN_WORKER_READY, /* libraries loaded, waits for the data block */
	TRAIN_WORKER_DONE,  /* status says how */
	TRAIN_WORKER_FAILED /* message says why */
} TrainWorkerState;

typedef struct TrainWorker
{
	int32 state;  /* TrainWorkerState, written by the worker */
	int32 status; /* RsStatus */
	int32 proc;   /* number of its PGPROC, for its latch */
	int32 sqlerrcode;
	char message[256];
} TrainWorker;

#define TRAIN_MAGIC 0x7472616e

/* the control block */
typedef struct TrainControl
{
	uint32 magic;
	int32 stop;  /* 1: leave at once */
	int32 ready; /* 1: data is valid */
	int32 leader_proc;
	int32 n_workers;
	dsm_handle data;
	TrainWorker worker[TEAM_MAX];
} TrainControl;

/* what recsys.so tells recsys_train.so; see compute_main.c */
typedef struct TrainCompute
{
	JobShared *job;
	int rank;
	int size;
	bool (*interrupt)(void);
	const char *blas_problem; /* out: why plain C was used, or NULL */
} TrainCompute;

/* the leader's view of its workers */
typedef struct TrainTeam
{
	dsm_segment *control_segment;
	TrainControl *control;
	dsm_segment *data_segment;
	JobShared *job;
	int size;  /* workers that compute */
	int asked; /* workers that were started */
	BackgroundWorkerHandle *handle[TEAM_MAX];
} TrainTeam;

/* where the time went, in milliseconds */
typedef struct TrainTimes
{
	double launch;
	double read;
	double fill;
	double compute;
	double publish;
} TrainTimes;

/* what recsys_train tells */
typedef struct TrainResult
{
	int version;
	int64 users;
	int64 items;
	int64 interactions;
	int epochs;
	double seconds;
	Jsonb *skipped;
	Jsonb *metrics;
	Jsonb *baseline;
} TrainResult;

/* functions in train_args.c */
extern void train_args_from_call(FunctionCallInfo fcinfo, TrainArgs *args,
								 bool *wait);
/* arguments that are right each by itself, but not together */
typedef struct TrainClash
{
	const char *message;
	const char *hint; /* NULL: none */
} TrainClash;

extern bool train_args_clash(const TrainArgs *args, TrainClash *clash);
/* the error that says so */
extern void train_args_refuse(const TrainClash *clash);
/* a comparison of the rating with a number, of which the column is named */
extern bool train_positive_read(const char *text, const char *column,
								JobConfig *config);

/* functions in train_options.c */
extern void train_options_apply(Jsonb *options, JobConfig *config);
/* an option or one of dim, epochs, batch_size, learning_rate */
extern void train_option_set(const char *key, const JsonbValue *v,
							 JobConfig *config);
/* those that are set, as members of an object */
extern void train_options_json(StringInfo json, const JobConfig *config);
/*
 * Those that are set and that no learner takes (takes: JobOutput.takes), for a
 * message; or NULL.
 */
extern char *train_options_unused(const JobConfig *config, int takes);
/* of an error about an unknown word: which ones are known */
extern char *train_hint(const char *word, const char *const *known, int n);

/* functions in train_config.c */
extern void train_config_default(JobConfig *config);
extern void train_config_hidden(int n, const int *units, JobConfig *config);
/* what was asked for; what is not there was left to the preset */
extern Jsonb *train_config_json(const TrainArgs *args);
/* and back; whatever is not in it stays as it is */
extern void train_config_read(Jsonb *json, TrainArgs *args);
/* one member of a config, as a trial of recsys_tune sets it */
extern void train_config_set(const char *key, const JsonbValue *v,
							 JobConfig *config);

/* functions in train_columns.c */
extern void train_columns_guess(TrainArgs *args, bool rating_given,
								bool time_given);
extern void train_column_find(Oid relation, const char *name,
							  TrainColumn *column);
extern TrainKeyKind train_key_kind(const TrainColumn *column);
extern void train_columns_check(const TrainArgs *args);

/* functions in train_keys.c */
extern void train_keys_init(TrainKeys *keys, const TrainColumn *column);
extern int32 train_keys_add(TrainKeys *keys, Datum value);
extern int32 train_keys_find(TrainKeys *keys, Datum value);
extern void train_keys_sort(TrainKeys *keys);
/* by place in key order; palloc'd unless by value */
extern Datum train_keys_datum(const TrainKeys *keys, int32 place);
extern size_t train_keys_memory(const TrainKeys *keys);

/* functions in train_select.c */
extern void train_expect(TrainReceiver *receiver, Oid type);
extern void train_select(const char *sql, TrainReceiver *to);

/* functions in train_load.c */
extern void train_load(const TrainArgs *args, TrainRows *rows);
/* once the keys are in order */
extern void train_count_pairs(TrainRows *rows);
/*
 * Where nobody said what is positive and ratings are on both sides of 0 (thumbs,
 * clicks): those above it are, for the retrieval stage.
 */
extern void train_settle_positive(TrainRows *rows, JobConfig *config);

/* functions in train_team.c */
extern void train_team_start(TrainTeam *team, int workers, bool exact);
extern void train_team_shrink(TrainTeam *team, int size);
extern void train_team_run(TrainTeam *team, TimestampTz deadline);
/* how the computation ended; the second raises what is not RS_OK */
extern RsStatus train_team_status(const TrainTeam *team);
extern void train_team_check(const TrainTeam *team);
extern void train_team_stop(TrainTeam *team);
extern void train_team_abandon(TrainTeam *team);

/* functions in train_features.c */

/* read a table of features; new keys join those of the ratings */
extern TrainFeature *train_features_read(Oid table, const char *key_name,
										 TrainKeys *keys, const NameData *names,
										 int n_names, bool users,
										 int *n_features);
/* empty features of the columns of that name, and a value of row `row` */
extern TrainFeature *train_features_named(Oid table, const NameData *names,
										  int n_names);
extern void train_feature_add(TrainFeature *f, int32 row, Datum value,
							  MemoryContext context);

/* functions in train_encode.c */

/*
 * rank (n_rows): the place of each row by its number in the entries, NULL
 * when that is the place. The features' arrays are changed.
 */
extern void train_features_encode(TrainFeature *feature, int n_features,
								  int32 n_rows, const int32 *rank,
								  TrainFeatures *out);

/* functions in train_labels.c: the categories of one feature */

/* texts that consist of parts or words become several entries each */
extern void train_labels_split(TrainFeature *f);
/* codes become columns, the frequent categories get labels */
extern void train_labels_choose(TrainFeature *f);

/* recsys_tune with wait => false: what it needs beside TrainArgs and the space */
typedef struct TrainTune
{
	char metric[64];
	int trials;
	uint64 seed;
} TrainTune;

/* how a leader reads, and whose its trainings are: another one sets it */
typedef struct TrainLeader
{
	void (*read)(const TrainArgs *args, TrainInput *input);
	Oid role; /* InvalidOid: the current user */
} TrainLeader;

extern TrainLeader train_leader;

/* functions in train_call.c */
extern int train_workers_wanted(const TrainArgs *args);
extern int train_workers_useful(const TrainArgs *args, const TrainInput *input);
extern TimestampTz train_deadline(const TrainArgs *args, TimestampTz started);
/* 42P01 when one is gone; lock: and to the end of the transaction none goes */
extern void train_check_tables(const TrainArgs *args, bool lock);
extern void train_read(const TrainArgs *args, TrainInput *input);
extern void train_publish(const TrainArgs *args, const TrainInput *input,
						  const JobShared *job, double seconds,
						  TrainResult *result);
/* what has gone by since, reading, is part of max_seconds */
extern void train_take_time(JobShared *job, TimestampTz started);
/* ask for workers and read */
extern void train_begin(const TrainArgs *args, TrainTeam *team,
						TrainInput *input, TrainTimes *times);
/*
 * What was read and begun at `started`; the caller looks at the status and ends
 * the team.
 */
extern void train_compute(const TrainArgs *args, TimestampTz started,
						  TimestampTz deadline, TrainTeam *team,
						  TrainInput *input, TrainTimes *times);
/*
 * The whole training in the caller's transaction; more are put behind what
 * it logs.
 */
extern void train_here(const TrainArgs *args, const JobLog *more, int n_more,
					   TrainResult *result);

/* functions in train_tell.c */

/* what a training has told, with hints; the model keeps it */
typedef struct TrainNotices
{
	MemoryContext context; /* of the texts */
	List *texts;           /* of char * */
} TrainNotices;

extern TrainNotices *train_notices; /* NULL: they are not kept */

extern void train_copy_message(char *to, int size, const char *message);
/* detail, hint: NULL for none */
extern void train_tell(int elevel, const char *message, const char *detail,
					   const char *hint);
/* from here on they are kept in *notices, until train_notices is set back */
extern void train_tell_begin(TrainNotices *notices, const TrainArgs *args);
/* what the computation chose, and what of the arguments came to nothing */
extern void train_tell_result(const TrainArgs *args, const TrainRows *rows,
							  const JobShared *job);

/* functions in train_async.c */
/* tune NULL: a training; space: jsonb as text */
extern void train_async_start(const TrainArgs *args, const TrainTune *tune,
							  const char *space);

/* functions in train_tune.c */

/*
 * All trials; args get the best one's options, *log (palloc'd) a line for each
 * training. Returns the number of lines.
 */
extern int train_tune_choose(TrainArgs *args, const TrainTune *tune,
							 const char *space, JobLog **log);

/* functions in train_segment.c */

/* why a training has no room */
typedef struct TrainMisfit
{
	const char *message;
	const char *detail; /* NULL: none */
	const char *hint;   /* NULL: none */
} TrainMisfit;

extern bool train_segment_misfit(const TrainTeam *team, const JobConfig *config,
								 TrainInput *from, TrainMisfit *misfit);
/* raises what does not fit */
extern void train_segment_make(TrainTeam *team, const TrainArgs *args,
							   TrainInput *input);

#endif

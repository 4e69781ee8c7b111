/*
 * store_publish.h
 *		Writing models: publish a training's result, roll back, drop.
 *
 * Everything happens in the caller's transaction and with the caller's
 * rights, except that rows of the extension's own tables are written by C.
 * The order of calls: store_lock, compute, store_publish.
 */
#ifndef RECSYS_STORE_PUBLISH_H
#define RECSYS_STORE_PUBLISH_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "model/feature_code.h"
#include "model/job.h"
#include "store/store.h"

/* "_param_old" must still fit into a name */
#define STORE_MAX_NAME (NAMEDATALEN - 1 - 10)

/* the key of user or item i, palloc'd in the current context */
typedef Datum (*StoreKey)(const void *arg, int32 i);

/*
 * How a column of a table of features was encoded: its columns of the matrix
 * are [first, first + n_cols).
 */
typedef struct StoreFeature
{
	const char *name; /* of the SQL column */
	FeatureKind kind;
	int32 first;
	int32 n_cols;
	char delimiter; /* of a text with several categories, else 0 */
	int32 n_labels; /* categories: the column after them is the rest */
	char **label;   /* (n_labels) as text */
	int n_bounds;   /* of numbers and times: buckets less one */
	float *bound;   /* (n_bounds) least value of each bucket but the first */
	float scale;    /* factor of a vector's coordinates */
} StoreFeature;

typedef struct StorePublish
{
	Oid schema;
	const char *name;
	Oid ratings;   /* InvalidOid when it is temporary */
	Oid temporary; /* and then this one */
	const char *user_col;
	const char *item_col;
	const char *rating_col;
	const char *time_col;
	Oid user_type;
	Oid item_type;
	Oid user_collation; /* InvalidOid unless the type has one */
	Oid item_collation;
	const JobShared *job; /* input and output */
	StoreKey user_key;
	StoreKey item_key;
	const void *user_arg;
	const void *item_arg;
	Oid user_features; /* tables of features, InvalidOid for none */
	Oid item_features;
	int n_user_features;
	int n_item_features;
	const StoreFeature *user_feature; /* (n_user_features) */
	const StoreFeature *item_feature;
	int n_context_features;
	const StoreFeature *context_feature;
	double seconds;
	Jsonb *config;
	Jsonb *skipped;
	Jsonb *metrics;
	Jsonb *baseline;
	List *notices; /* of char * */
} StorePublish;

/* functions in store_catalog.c */

/* where a new model called text goes; checks the name and its length */
extern void store_creation_name(const char *text, Oid *schema, NameData *name);
/*
 * The lock that trainings, rollbacks and drops of one model take: until the
 * end of the transaction, or of the session. wait false: 55006 when taken.
 */
extern void store_lock(Oid schema, const char *name, bool session, bool wait);

/* where a model is whose tables may be gone; false when it is nowhere */
extern bool store_locate(const char *text, Oid *schema, NameData *name);

/*
 * Errors that publishing would raise after a long training, raised before
 * it: no right to create tables, tables of somebody else in the way, foreign
 * keys that would not let a version go.
 */
extern void store_check_target(Oid schema, const char *name);

/*
 * To the end of the transaction nobody rebuilds indexes of the model's tables
 * or vacuums them by hand: REINDEX CONCURRENTLY would wait for this transaction
 * and publishing for it, and the training be lost.
 */
extern void store_reserve(Oid schema, const char *name);

/* functions in store_publish.c: the version that is present then */
extern int store_publish(const StorePublish *publish);
extern int store_rollback(Oid schema, const char *name);
extern void store_drop(Oid schema, const char *name);

#endif

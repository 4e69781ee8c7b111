/*
 * store.h
 *		Models as tables: the catalog, publishing, rollback, drop.
 *
 * A model NAME in schema S consists of ordinary tables owned by its trainer:
 *
 *	NAME_user(user_id K primary key, embedding vector(d), ranking vector(r),
 *			  interactions int)
 *	NAME_item(item_id K primary key, embedding vector(d), ranking vector(r),
 *			  interactions int)
 *	NAME_param(name text collate "C" primary key, shape int[], value real[])
 *
 * and of one row in the extension's table recsys_model. The tables keep
 * their OIDs when a model is trained again (rows are deleted and inserted in
 * one transaction), so that grants, policies, views and publications stay
 * and readers see the old model or the new one, whole. The version before is
 * kept in NAME_user_old, NAME_item_old, NAME_param_old for recsys_rollback.
 *
 * embedding: inner product of a user's and an item's is the retrieval score;
 * NULL when the model has no retrieval stage. ranking: see JobRanking in
 * model/job.h. interactions: rows of training, the popularity of an item.
 *
 * NAME_param has the learners' parameters (JobParam in model/job.h), and what
 * was learnt of features, so that somebody who comes later gets vectors from
 * his. With SIDE user or item and W = d + r floats, those of embedding then
 * those of ranking:
 *
 *	feature/SIDE					(1, 1 + W)	what everybody gets; the first
 *			float says which of embedding and ranking features are known of
 *	feature/SIDE/category/COLUMN	(1, 1 + W)	any value without a row of
 *			its own; the first float is the code of the delimiter, or 0
 *	feature/SIDE/words/COLUMN		the same
 *	feature/SIDE/number/COLUMN		(n, 1 + W)	a row a bucket, first its least
 *			value (that of the first means nothing)
 *	feature/SIDE/timestamp[tz]/COLUMN	(n, 1 + W)	the same, then the rows of
 *			feature_seasons
 *	feature/SIDE/vector/COLUMN		(n, 1 + W)	a row a coordinate, first the
 *			factor of the coordinate
 *	value/SIDE/COLUMN/LABEL			(W)		a category
 *
 * COLUMN is quoted as an SQL identifier, if need be. SIDE context is what the
 * features of the occasion add: to the user's embedding, then to the user's
 * and to the item's ranking vector, W = d + 2 r floats (or d + r + s, where
 * those differ); feature/context is 0 but for its first float.
 */
#ifndef RECSYS_STORE_H
#define RECSYS_STORE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "model/job.h"
#include "pg/pg_compat.h"

/* a row of recsys_model, in palloc'd memory */
typedef struct StoreModel
{
	Oid schema;
	NameData name;
	int version;
	Oid ratings; /* the table it was trained from; may be gone, InvalidOid
				  * for a temporary one of another session */
	NameData user_col;
	NameData item_col;
	NameData rating_col; /* "" when there is none */
	NameData time_col;   /* "" when there is none */
	Oid user_table;
	Oid item_table;
	Oid param_table;
	Oid user_type; /* base type of user_id */
	Oid item_type;
	Oid user_features; /* table of the users' features, InvalidOid: none */
	Oid item_features;
	int dim; /* of embedding, 0 when there is no retrieval stage */
	JobRanking ranking;
	int user_ranking_dim;
	int item_ranking_dim;
	int64 users;
	int64 items;
	int64 interactions;
} StoreModel;

#define STORE_FEATURE_PREFIX "feature/"
#define STORE_VALUE_PREFIX "value/"
#define STORE_KNOWS_EMBEDDING 1
#define STORE_KNOWS_RANKING 2

/*
 * The model called name ("model" by the search path, or "schema.model"),
 * as the active snapshot sees it; NULL name means "default". 42704 when there
 * is none, or when one of its tables has been dropped.
 */
extern void store_get(const char *name, StoreModel *model);
/* 42704, and where a model of this name is that the search path does not have */
pg_noreturn extern void store_refuse_unknown(const char *name);
/* how it was trained; see train_config_json */
extern Jsonb *store_config(const StoreModel *model);

/*
 * Usual names of the columns of a rating table, best first, NULL at the end.
 */
extern const char *const store_user_names[];
extern const char *const store_item_names[];
extern const char *const store_user_words[];
extern const char *const store_item_words[];
extern const char *const store_rating_names[];
/* may columns of this base type be keys of users and items? */
extern bool store_is_key_type(Oid type);
extern int store_count_names(const char *const *names);
/*
 * The key column of a table of features: called as in the ratings, or the
 * primary key, or called as usual, or id. NULL when there is none.
 */
extern const char *store_feature_key(Oid table, const char *name, bool users);

#endif

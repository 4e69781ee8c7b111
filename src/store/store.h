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
 *	NAME_param(name text primary key, shape int[], value real[])
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
 */
#ifndef RECSYS_STORE_H
#define RECSYS_STORE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "model/job.h"

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
	int dim; /* of embedding, 0 when there is no retrieval stage */
	JobRanking ranking;
	int64 users;
	int64 items;
	int64 interactions;
} StoreModel;

/*
 * The model called name ("model" by the search path, or "schema.model"),
 * as the active snapshot sees it; NULL name means "default". 42704 when there
 * is none, or when one of its tables has been dropped.
 */
extern void store_get(const char *name, StoreModel *model);
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
extern int store_count_names(const char *const *names);

#endif

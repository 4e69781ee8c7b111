/*
 * store_catalog.h
 *		The extension's own tables, as C sees them.
 *
 * The columns are those of recsys--1.0.sql, in the same order. Nobody but
 * the extension's owner has rights to write them; C writes rows directly.
 */
#ifndef RECSYS_STORE_CATALOG_H
#define RECSYS_STORE_CATALOG_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "store/store.h"
#include "store/store_publish.h"

/* columns of recsys_model and recsys_model_old */
enum
{
	MODEL_SCHEMA = 1,
	MODEL_NAME,
	MODEL_VERSION,
	MODEL_TRAINED_AT,
	MODEL_RATINGS,
	MODEL_USER_COL,
	MODEL_ITEM_COL,
	MODEL_RATING_COL,
	MODEL_TIME_COL,
	MODEL_USER_TABLE,
	MODEL_ITEM_TABLE,
	MODEL_PARAM_TABLE,
	MODEL_USER_TYPE,
	MODEL_ITEM_TYPE,
	MODEL_DIM,
	MODEL_RANKING,
	MODEL_USERS,
	MODEL_ITEMS,
	MODEL_INTERACTIONS,
	MODEL_EPOCHS,
	MODEL_SECONDS,
	MODEL_STAGES,
	MODEL_CONFIG,
	MODEL_SKIPPED,
	MODEL_METRICS,
	MODEL_BASELINE,
	MODEL_CHOICE,
	MODEL_USER_FEATURES,
	MODEL_ITEM_FEATURES,
	MODEL_USER_RANKING_DIM,
	MODEL_ITEM_RANKING_DIM,
	MODEL_NOTICES,
	MODEL_NATTS = MODEL_NOTICES
};

/* columns of recsys_log */
enum
{
	LOG_SCHEMA = 1,
	LOG_NAME,
	LOG_VERSION,
	LOG_STEP,
	LOG_STAGE,
	LOG_EPOCH,
	LOG_TRAIN_LOSS,
	LOG_METRIC,
	LOG_VALUE,
	LOG_SECONDS,
	LOG_NATTS = LOG_SECONDS
};

typedef enum StoreTable
{
	STORE_MODEL,
	STORE_MODEL_OLD,
	STORE_LOG,
	STORE_NTABLES
} StoreTable;

/* functions in store_catalog.c */

/* OID of one of the extension's tables; 55000 when there is no extension */
extern Oid store_table_oid(StoreTable which);
/* the schema of the extension, and its type vector */
extern Oid store_extension_schema(void);
extern Oid store_vector_type(void);
/* schema and name that text stands for; schema NULL when not given */
extern void store_parse_name(const char *text, char **schema, char **name);
/*
 * A row of recsys_model or recsys_model_old as a snapshot sees it, copied,
 * NULL when there is none; and its contents.
 */
extern HeapTuple store_row(Relation rel, Oid schema, const char *name,
						   Snapshot snapshot);
extern void store_read(HeapTuple tuple, Relation rel, StoreModel *model);
extern bool store_tables_exist(const StoreModel *model);
/* for this session: the temporary table behind the model's row of that time */
extern void store_keep_temporary(TimestampTz trained_at, Oid ratings);

/* functions in store_moved.c */

/*
 * Rows of models whose tables are in another schema by now, and their log,
 * get its name. The caller takes a new snapshot after.
 */
extern void store_settle_moved(void);

/* functions in store_tables.c */

/* "schema"."name" + suffix, quoted */
extern char *store_quoted(Oid schema, const char *name, const char *suffix);
extern char *store_quoted_relation(Oid relation);
extern void store_run(const char *sql);
/* 42501 unless the tables are the caller's */
extern void store_check_owner(const StoreModel *model);
/* the same for those that are there, and would be emptied or dropped */
extern void store_check_remains(const StoreModel *model);
/* make the tables of a new model, or empty those of an old one */
extern void store_prepare_tables(const StorePublish *publish,
								 const StoreModel *before, StoreModel *model);
/* copy a model's rows into its old tables: those of before, or new ones */
extern void store_keep_old(const StoreModel *model, const StoreModel *before,
						   StoreModel *old);
/* and back, into tables of the present version's OIDs; the old ones are empty */
extern void store_restore_old(const StoreModel *model, const StoreModel *old);
extern void store_drop_tables(const StoreModel *model);
/*
 * Tables that a training made for a model of which no row is there, as after
 * restoring a dump of the schema alone; false: there are none.
 */
extern bool store_drop_strays(Oid schema, const char *name);

/* functions in store_index.c */

/* after the rows are there; readers are locked out only if an index must go */
extern void store_build_indexes(const StoreModel *model);
/* the index that a training made on this table; InvalidOid when none */
extern Oid store_own_index(Oid relation);

/* functions in store_dimension.c */

/* of a column of vectors whose rows are all deleted, as this transaction sees */
extern void store_set_dimension(Oid relation, AttrNumber attno, int32 dim);

/* functions in store_fill.c */

/* that the tables of a model have the columns that will be filled */
extern void store_check_columns(const StoreModel *model);
/* all rows of one table of vectors into another one, with no entries in the
 * index that trainings make */
extern void store_copy_side(Oid table, Oid from, const char *key);
extern void store_fill_tables(const StorePublish *publish,
							  const StoreModel *model);

#endif

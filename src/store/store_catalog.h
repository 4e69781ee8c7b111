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
#include "nodes/pg_list.h"
#include "utils/rel.h"

#include "store/store.h"

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
	MODEL_NATTS = MODEL_CHOICE
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
/* schema and name that text stands for; schema NULL when not given */
extern void store_parse_name(const char *text, char **schema, char **name);
/* find by schema OID; snapshot NULL means the active one */
extern bool store_lookup(Oid schema, const char *name, StoreModel *model);

#endif

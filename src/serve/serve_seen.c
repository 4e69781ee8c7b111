/*
 * serve_seen.c
 *		What the ratings table says now: the items that a user has rated.
 *
 * The query runs through SPI with the caller's rights, under the active
 * snapshot and with row-level policies. Its plan is made once in a backend
 * for each model (a generic one: replanning would cost more than the query)
 * and again when the table's name or columns are others.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "serve/serve.h"

typedef struct PlanKey
{
	Oid schema;
	NameData model;
	bool of_item;
} PlanKey;

typedef struct PlanEntry
{
	PlanKey key;
	char *text; /* the query that plan was made for */
	SPIPlanPtr plan;
} PlanEntry;

static HTAB *plans = NULL;

static bool
add_seen(TupleTableSlot *slot, void *arg)
{
	ServeMap *map = arg;
	bool isnull;
	Datum raw = slot_getattr(slot, 1, &isnull);

	if (!isnull)
		serve_map_add(map, serve_key_read(&map->type, raw), 0, true);
	return true;
}

static void
refuse_ratings(const StoreModel *model, int code, const char *problem)
{
	ereport(ERROR, (errcode(code),
					errmsg("could not look up what has been seen: %s", problem),
					errdetail("Model \"%s\" was trained from this table.",
							  NameStr(model->name)),
					code == ERRCODE_UNDEFINED_COLUMN
						? errhint("Use exclude_seen => false, or train the "
								  "model again if the column was renamed.")
					: code == ERRCODE_UNDEFINED_TABLE
						? errhint("Use exclude_seen => false, or train the "
								  "model again from the table that has taken "
								  "its place.")
						: errhint("Use exclude_seen => false.")));
}

static void
check_column(const StoreModel *model, const char *column)
{
	Oid relid = model->ratings;
	AttrNumber att = get_attnum(relid, column);

	if (att == InvalidAttrNumber)
		refuse_ratings(model, ERRCODE_UNDEFINED_COLUMN,
					   psprintf("column \"%s\" of \"%s\" does not exist",
								column, get_rel_name(relid)));
	/* a cast of another type could be a function of whoever made the type */
	if (!store_is_key_type(getBaseType(get_atttype(relid, att))))
		refuse_ratings(model, ERRCODE_DATATYPE_MISMATCH,
					   psprintf("column \"%s\" of \"%s\" is no key any more",
								column, get_rel_name(relid)));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(relid, att, GetUserId(), ACL_SELECT) !=
			ACLCHECK_OK)
		refuse_ratings(
			model, ERRCODE_INSUFFICIENT_PRIVILEGE,
			psprintf("permission denied for table %s", get_rel_name(relid)));
}

static void
check_ratings(const StoreModel *model)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(model->ratings)))
		refuse_ratings(model, ERRCODE_UNDEFINED_TABLE,
					   "the ratings table does not exist any more");
	/* what follows may read an index below the executor */
	if (!pg_may_use_schema(get_rel_namespace(model->ratings), GetUserId()))
		refuse_ratings(
			model, ERRCODE_INSUFFICIENT_PRIVILEGE,
			psprintf("permission denied for schema %s",
					 get_namespace_name(get_rel_namespace(model->ratings))));
	check_column(model, NameStr(model->user_col));
	check_column(model, NameStr(model->item_col));
}

char *
serve_seen_table(const StoreModel *model)
{
	check_ratings(model);
	return serve_table_name(model->ratings);
}

static char *
seen_query(const StoreModel *model, bool of_item)
{
	const char *user = NameStr(model->user_col);
	const char *item = NameStr(model->item_col);
	char *table = serve_seen_table(model);

	return psprintf(
		"SELECT r.%s::%s FROM %s r WHERE r.%s OPERATOR(pg_catalog.=) $1",
		quote_identifier(of_item ? user : item),
		format_type_be_qualified(of_item ? model->user_type : model->item_type),
		table, quote_identifier(of_item ? item : user));
}

static PlanEntry *
plan_entry(const StoreModel *model, bool of_item)
{
	PlanKey key;
	PlanEntry *entry;
	bool found;

	if (plans == NULL)
	{
		HASHCTL info = {.keysize = sizeof(PlanKey),
						.entrysize = sizeof(PlanEntry),
						.hcxt = TopMemoryContext};

		plans = hash_create("recsys ratings queries", 16, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	memset(&key, 0, sizeof(key));
	key.schema = model->schema;
	key.model = model->name;
	key.of_item = of_item;
	entry = hash_search(plans, &key, HASH_ENTER, &found);
	if (!found)
	{
		entry->text = NULL;
		entry->plan = NULL;
	}
	return entry;
}

/* the plan to run now; kept ones are planned anew by the plan cache itself */
static SPIPlanPtr
seen_plan(const StoreModel *model, bool of_item, Oid key_type)
{
	char *text = seen_query(model, of_item);
	PlanEntry *entry = plan_entry(model, of_item);
	SPIPlanPtr plan;

	if (entry->plan != NULL && strcmp(entry->text, text) == 0 &&
		SPI_getargtypeid(entry->plan, 0) == key_type)
		return entry->plan;
	if (entry->plan != NULL)
		SPI_freeplan(entry->plan);
	entry->plan = NULL;
	if (entry->text != NULL)
		pfree(entry->text);
	entry->text = NULL;
	plan = SPI_prepare_cursor(text, 1, &key_type, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not plan the query for what has been seen");
	entry->text = MemoryContextStrdup(TopMemoryContext, text);
	entry->plan = plan;
	return plan;
}

ServeMap *
serve_seen(const StoreModel *model, bool of_item, Datum key)
{
	ServeKeyType key_type;
	ServeKeyType map_type;
	ServeMap *map;
	Datum value;

	serve_key_init(&key_type, of_item ? model->item_type : model->user_type);
	serve_key_init(&map_type, of_item ? model->user_type : model->item_type);
	map = serve_map_new(&map_type, 128);
	check_ratings(model);
	if (serve_seen_by_index(model, of_item, &key_type, key, map))
		return map;
	value = serve_key_native(&key_type, key);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	serve_query_plan(seen_plan(model, of_item, key_type.type), 1,
					 &key_type.type, &value, add_seen, map);
	SPI_finish();
	return map;
}

/*
 * store_catalog.c
 *		Finding models in recsys_model. A look-up is one index scan.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/indexing.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "store/store.h"
#include "store/store_catalog.h"

/*
 * Temporary tables that this session has trained from. The catalog does not
 * name them: to other sessions and to a dump they mean nothing.
 */
typedef struct Temporary
{
	TimestampTz trained_at; /* of the model's row */
	Oid ratings;
	struct Temporary *next;
} Temporary;

static Temporary *temporaries = NULL;

/*
 * The next dot-separated part of a name: "..." as in SQL, anything else as
 * it stands, upper case and spaces included. Returns NULL when the text is
 * no name.
 */
static char *
next_part(const char **text)
{
	const char *p = *text;
	char *part = palloc(strlen(p) + 1);
	char *to = part;

	if (*p == '"')
	{
		for (p++; *p != '\0'; p++)
		{
			if (*p == '"' && *++p != '"')
				break;
			*to++ = *p;
		}
		if (p[-1] != '"' || (*p != '\0' && *p != '.'))
			return NULL;
	}
	else
		while (*p != '\0' && *p != '.')
			*to++ = *p++;
	*to = '\0';
	*text = p;
	return part;
}

void
store_parse_name(const char *text, char **schema, char **name)
{
	const char *p = text;

	*schema = NULL;
	*name = next_part(&p);
	if (*name != NULL && *p == '.')
	{
		p++;
		*schema = *name;
		*name = next_part(&p);
	}
	if (*name == NULL || **name == '\0' || *p != '\0' ||
		(*schema != NULL && **schema == '\0'))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid model name \"%s\"", text),
						errhint("Write name or schema.name; put double quotes "
								"around a part that contains a dot.")));
}

static char *
name_of(HeapTuple tuple, TupleDesc desc, int att)
{
	bool isnull;

	return NameStr(*DatumGetName(heap_getattr(tuple, att, desc, &isnull)));
}

static int64
number_of(HeapTuple tuple, TupleDesc desc, int att)
{
	bool isnull;
	Datum d = heap_getattr(tuple, att, desc, &isnull);

	if (isnull)
		return 0;
	switch (TupleDescAttr(desc, att - 1)->attlen)
	{
		case 8:
			return DatumGetInt64(d);
		case 4:
			return DatumGetInt32(d);
		default:
			return DatumGetInt16(d);
	}
}

static Oid
oid_of(HeapTuple tuple, TupleDesc desc, int att)
{
	return (Oid) number_of(tuple, desc, att);
}

void
store_keep_temporary(TimestampTz trained_at, Oid ratings)
{
	Temporary *t = MemoryContextAlloc(TopMemoryContext, sizeof(Temporary));

	t->trained_at = trained_at;
	t->ratings = ratings;
	t->next = temporaries;
	temporaries = t;
}

/* InvalidOid when there is none, or not any more */
static Oid
temporary_of(TimestampTz trained_at)
{
	for (const Temporary *t = temporaries; t != NULL; t = t->next)
		if (t->trained_at == trained_at &&
			isTempNamespace(get_rel_namespace(t->ratings)))
			return t->ratings;
	return InvalidOid;
}

void
store_read(HeapTuple tuple, Relation rel, StoreModel *m)
{
	TupleDesc desc = RelationGetDescr(rel);

	memset(m, 0, sizeof(*m));
	namestrcpy(&m->name, name_of(tuple, desc, MODEL_NAME));
	m->version = (int) number_of(tuple, desc, MODEL_VERSION);
	m->ratings = oid_of(tuple, desc, MODEL_RATINGS);
	if (!OidIsValid(m->ratings))
		m->ratings = temporary_of(number_of(tuple, desc, MODEL_TRAINED_AT));
	namestrcpy(&m->user_col, name_of(tuple, desc, MODEL_USER_COL));
	namestrcpy(&m->item_col, name_of(tuple, desc, MODEL_ITEM_COL));
	namestrcpy(&m->rating_col, name_of(tuple, desc, MODEL_RATING_COL));
	namestrcpy(&m->time_col, name_of(tuple, desc, MODEL_TIME_COL));
	m->user_table = oid_of(tuple, desc, MODEL_USER_TABLE);
	m->item_table = oid_of(tuple, desc, MODEL_ITEM_TABLE);
	m->param_table = oid_of(tuple, desc, MODEL_PARAM_TABLE);
	m->user_type = oid_of(tuple, desc, MODEL_USER_TYPE);
	m->item_type = oid_of(tuple, desc, MODEL_ITEM_TYPE);
	m->user_features = oid_of(tuple, desc, MODEL_USER_FEATURES);
	m->item_features = oid_of(tuple, desc, MODEL_ITEM_FEATURES);
	/* where it is now; the name in the row may be one of before */
	m->schema = get_rel_namespace(m->item_table);
	if (!OidIsValid(m->schema))
		m->schema = get_namespace_oid(name_of(tuple, desc, MODEL_SCHEMA), true);
	m->dim = (int) number_of(tuple, desc, MODEL_DIM);
	m->user_ranking_dim = (int) number_of(tuple, desc, MODEL_USER_RANKING_DIM);
	m->item_ranking_dim = (int) number_of(tuple, desc, MODEL_ITEM_RANKING_DIM);
	m->ranking = (JobRanking) number_of(tuple, desc, MODEL_RANKING);
	m->users = number_of(tuple, desc, MODEL_USERS);
	m->items = number_of(tuple, desc, MODEL_ITEMS);
	m->interactions = number_of(tuple, desc, MODEL_INTERACTIONS);
}

/* a model whose tables somebody dropped by hand is no model */
bool
store_tables_exist(const StoreModel *m)
{
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(m->user_table)) &&
		   SearchSysCacheExists1(RELOID, ObjectIdGetDatum(m->item_table)) &&
		   SearchSysCacheExists1(RELOID, ObjectIdGetDatum(m->param_table));
}

/* the row that the keys find; index InvalidOid reads them all */
static HeapTuple
scan_row(Relation rel, Oid index, Snapshot snapshot, int n_keys,
		 ScanKeyData *key)
{
	SysScanDesc scan = systable_beginscan(rel, index, OidIsValid(index),
										  snapshot, n_keys, key);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* whether the row's item table, if there still is one, is in that schema */
static bool
is_in_schema(HeapTuple tuple, Relation rel, Oid schema)
{
	Oid now = get_rel_namespace(
		oid_of(tuple, RelationGetDescr(rel), MODEL_ITEM_TABLE));

	return !OidIsValid(now) || now == schema;
}

/*
 * The schema was renamed, or the tables were moved to another one: the row
 * is the one that has the item table which the name stands for.
 */
static HeapTuple
row_of_moved(Relation rel, Oid schema, const char *name, Snapshot snapshot)
{
	bool is_old = RelationGetRelid(rel) == store_table_oid(STORE_MODEL_OLD);
	Oid item_table = get_relname_relid(
		psprintf("%s_item%s", name, is_old ? "_old" : ""), schema);
	ScanKeyData key;

	if (!OidIsValid(item_table))
		return NULL;
	ScanKeyInit(&key, MODEL_ITEM_TABLE, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(item_table));
	return scan_row(rel, InvalidOid, snapshot, 1, &key);
}

HeapTuple
store_row(Relation rel, Oid schema, const char *name, Snapshot snapshot)
{
	ScanKeyData key[2];
	HeapTuple tuple;
	NameData schema_name;
	NameData wanted;
	char *found = get_namespace_name(schema);

	if (found == NULL)
		return NULL;
	list_free(RelationGetIndexList(rel));
	namestrcpy(&schema_name, found);
	namestrcpy(&wanted, name);
	ScanKeyInit(&key[0], MODEL_SCHEMA, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&schema_name));
	ScanKeyInit(&key[1], MODEL_NAME, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&wanted));
	tuple = scan_row(rel, rel->rd_pkindex, snapshot, 2, key);
	if (tuple == NULL || !is_in_schema(tuple, rel, schema))
		tuple = row_of_moved(rel, schema, name, snapshot);
	return tuple;
}

/* broken: its row is there, but not all of its tables */
static bool
find_in(Relation rel, Oid schema, const char *name, StoreModel *model,
		bool *broken)
{
	HeapTuple tuple = store_row(rel, schema, name, GetActiveSnapshot());

	if (tuple == NULL)
		return false;
	store_read(tuple, rel, model);
	heap_freetuple(tuple);
	if (store_tables_exist(model))
		return true;
	*broken = true;
	return false;
}

/* where to look: the schema given, or those of the search path */
static int
schemas_of(const char *given, Oid *path, int size)
{
	if (given == NULL)
		return Min(fetch_search_path_array(path, size), size);
	path[0] = LookupExplicitNamespace(given, true);
	return OidIsValid(path[0]) ? 1 : 0;
}

static bool
find(const char *name, StoreModel *model, bool *broken)
{
	Oid path[64];
	char *schema;
	char *base;
	Relation rel;
	bool found = false;
	int n;

	store_parse_name(name, &schema, &base);
	if (strlen(base) >= NAMEDATALEN)
		return false;
	n = schemas_of(schema, path, lengthof(path));
	rel = table_open(store_table_oid(STORE_MODEL), AccessShareLock);
	for (int i = 0; i < n && !found; i++)
		found = find_in(rel, path[i], base, model, broken);
	table_close(rel, AccessShareLock);
	return found;
}

/* the schema of a model of this name, which was given without one, or NULL */
static const char *
elsewhere(const char *name)
{
	char *given;
	char *base;
	NameData wanted;
	ScanKeyData key;
	Relation rel;
	HeapTuple tuple;
	StoreModel model;
	const char *schema = NULL;

	store_parse_name(name, &given, &base);
	if (given != NULL || strlen(base) >= NAMEDATALEN)
		return NULL;
	namestrcpy(&wanted, base);
	ScanKeyInit(&key, MODEL_NAME, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&wanted));
	rel = table_open(store_table_oid(STORE_MODEL), AccessShareLock);
	tuple = scan_row(rel, InvalidOid, GetActiveSnapshot(), 1, &key);
	if (tuple != NULL)
	{
		store_read(tuple, rel, &model);
		schema = get_namespace_name(model.schema);
	}
	table_close(rel, AccessShareLock);
	return schema;
}

void
store_refuse_unknown(const char *name)
{
	const char *schema = elsewhere(name);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model \"%s\" does not exist", name),
			 schema == NULL
				 ? errhint("Train it with recsys_train; the view recsys_models "
						   "lists the models there are.")
				 : errhint("Schema \"%s\" has one, but is not in "
						   "search_path: write '%s.%s'.",
						   schema, quote_identifier(schema), name)));
}

void
store_get(const char *name, StoreModel *model)
{
	bool broken = false;

	if (name == NULL)
		name = "default";
	if (find(name, model, &broken))
		return;
	if (broken)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist any more", name),
				 errdetail("Some of its tables have been dropped."),
				 errhint("Train it again with recsys_train, or remove what is "
						 "left of it with recsys_drop.")));
	store_refuse_unknown(name);
}

Jsonb *
store_config(const StoreModel *model)
{
	Relation rel = table_open(store_table_oid(STORE_MODEL), AccessShareLock);
	HeapTuple tuple = store_row(rel, model->schema, NameStr(model->name),
								GetActiveSnapshot());
	Jsonb *config = NULL;
	bool isnull;

	if (tuple != NULL)
		config = DatumGetJsonbPCopy(
			heap_getattr(tuple, MODEL_CONFIG, RelationGetDescr(rel), &isnull));
	table_close(rel, AccessShareLock);
	return config;
}

bool
store_locate(const char *text, Oid *schema, NameData *name)
{
	Oid path[64];
	char *given;
	char *base;
	Relation rel;
	bool found = false;
	int n;

	store_parse_name(text, &given, &base);
	if (strlen(base) >= NAMEDATALEN)
		return false;
	n = schemas_of(given, path, lengthof(path));
	namestrcpy(name, base);
	rel = table_open(store_table_oid(STORE_MODEL), AccessShareLock);
	for (int i = 0; i < n && !found; i++)
	{
		*schema = path[i];
		found = store_row(rel, path[i], base, GetActiveSnapshot()) != NULL;
	}
	table_close(rel, AccessShareLock);
	return found;
}

void
store_creation_name(const char *text, Oid *schema, NameData *name)
{
	char *given;
	char *base;

	store_parse_name(text, &given, &base);
	if (strlen(base) > STORE_MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("model name \"%s\" is too long", base),
				 errdetail("It may have at most %d bytes.", STORE_MAX_NAME)));
	namestrcpy(name, base);
	if (given != NULL)
		*schema = LookupExplicitNamespace(given, false);
	else
	{
		List *path = fetch_search_path(false);

		if (path == NIL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_SCHEMA),
					 errmsg("no schema has been selected to create the model "
							"in"),
					 errhint("Set search_path, or write schema.name.")));
		*schema = linitial_oid(path);
		list_free(path);
	}
	/* its row would be left when the session ends, and in dumps before */
	if (isAnyTempNamespace(*schema))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a model cannot be in a temporary schema"),
			 errhint("Write model => 'schema.name'; the ratings may be in a "
					 "temporary table.")));
}

/*
 * An advisory lock: only these are given back by themselves when a session
 * ends that holds one for its whole life. 3 keeps it apart from those of
 * pg_advisory_lock, which have 1 or 2 there.
 */
void
store_lock(Oid schema, const char *name, bool session, bool wait)
{
	LOCKTAG tag;
	uint32 hash = hash_bytes((const unsigned char *) name, (int) strlen(name));

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, schema, hash, 3);
	if (LockAcquire(&tag, ExclusiveLock, session, !wait) ==
		LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("model \"%s\" is being trained", name),
				 errhint("Wait for it, or stop it with recsys_cancel.")));
}

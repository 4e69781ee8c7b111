/*
 * store_oids.c
 *		OIDs of the extension's tables and of its type vector.
 *
 * They are found by extension membership in pg_depend, never by search_path,
 * and kept until an invalidation says that something about them changed.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "store/store_catalog.h"

static const char *const table_names[STORE_NTABLES] = {
	"recsys_model", "recsys_model_old", "recsys_log"};

/* of the extension's objects; 0 where one is missing */
typedef struct Oids
{
	Oid table[STORE_NTABLES];
	Oid vector_type;
} Oids;

static Oids known; /* all 0: look them up */
static uint64 forgotten;

static void
forget_oids(Datum arg, Oid relid)
{
	bool mine = relid == InvalidOid;

	for (int i = 0; i < STORE_NTABLES; i++)
		mine |= relid == known.table[i];
	if (mine)
		memset(&known, 0, sizeof(known));
	forgotten++;
}

/* which of our tables relid is, -1 when none */
static int
table_index(Oid relid)
{
	char *name = get_rel_name(relid);

	for (int i = 0; name != NULL && i < STORE_NTABLES; i++)
		if (strcmp(name, table_names[i]) == 0)
			return i;
	return -1;
}

static bool
is_vector(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool found;

	if (!HeapTupleIsValid(tuple))
		return false;
	found = strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname),
				   "vector") == 0;
	ReleaseSysCache(tuple);
	return found;
}

static void
load_oids(Oids *oids)
{
	Oid extension = get_extension_oid("recsys", true);
	Relation depend;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	memset(oids, 0, sizeof(*oids));
	if (!OidIsValid(extension))
		return;
	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(extension));
	scan =
		systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);
		int which;

		if (row->classid == TypeRelationId &&
			row->deptype == DEPENDENCY_EXTENSION && is_vector(row->objid))
			oids->vector_type = row->objid;
		if (row->classid != RelationRelationId || row->objsubid != 0 ||
			row->deptype != DEPENDENCY_EXTENSION)
			continue;
		which = table_index(row->objid);
		if (which >= 0)
			oids->table[which] = row->objid;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/* any look into a catalog may make others be forgotten, also while they are
 * looked up: they are kept only if that has not happened */
static Oids
get_oids(void)
{
	static bool registered = false;
	uint64 before;
	Oids oids = known;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_oids, (Datum) 0);
		registered = true;
	}
	if (OidIsValid(oids.table[STORE_MODEL]))
		return oids;
	before = forgotten;
	load_oids(&oids);
	if (forgotten == before)
		known = oids;
	return oids;
}

Oid
store_table_oid(StoreTable which)
{
	Oid oid = get_oids().table[which];

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s of the extension recsys is missing",
						table_names[which]),
				 errhint("Run CREATE EXTENSION recsys in this database.")));
	return oid;
}

Oid
store_extension_schema(void)
{
	return get_rel_namespace(store_table_oid(STORE_MODEL));
}

Oid
store_vector_type(void)
{
	(void) store_table_oid(STORE_MODEL);
	return get_oids().vector_type;
}

/*
 * store_publish.c
 *		A finished training becomes the model's present version.
 *
 * One transaction, the caller's: the version before is copied into the old
 * tables, the present rows are deleted and the new ones inserted, the
 * catalog's row is replaced. Readers see one version or the other.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/pg_compat.h"
#include "store/store_catalog.h"

/* of a row whose old tables are empty since a rollback */
#define NO_VERSION 0

/* a name that lives as long as the tuple is being formed */
static Datum
name_datum(const char *text)
{
	Name name = palloc0(sizeof(NameData));

	namestrcpy(name, text);
	return NameGetDatum(name);
}

static Datum
stages_datum(const JobConfig *config)
{
	Datum d[2];
	int n = 0;

	if (config->retrieval)
		d[n++] = CStringGetTextDatum("retrieval");
	if (config->ranking)
		d[n++] = CStringGetTextDatum("ranking");
	return PointerGetDatum(construct_array(d, n, TEXTOID, -1, false, 'i'));
}

static Datum
texts_datum(const List *texts)
{
	Datum *d = palloc(sizeof(Datum) * (Size) (list_length(texts) + 1));
	int n = 0;
	ListCell *cell;

	foreach (cell, texts)
		d[n++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(d, n, TEXTOID, -1, false, 'i'));
}

static HeapTuple
form_row(Relation rel, const StorePublish *p, const StoreModel *m)
{
	Datum v[MODEL_NATTS];
	bool nulls[MODEL_NATTS] = {false};
	const JobOutput *out = &p->job->output;
	TimestampTz now = GetCurrentTimestamp();

	if (OidIsValid(p->temporary))
		store_keep_temporary(now, p->temporary);
	v[MODEL_SCHEMA - 1] = name_datum(get_namespace_name(p->schema));
	v[MODEL_NAME - 1] = name_datum(p->name);
	v[MODEL_VERSION - 1] = Int32GetDatum(m->version);
	v[MODEL_TRAINED_AT - 1] = TimestampTzGetDatum(now);
	v[MODEL_RATINGS - 1] = ObjectIdGetDatum(p->ratings);
	v[MODEL_USER_COL - 1] = name_datum(p->user_col);
	v[MODEL_ITEM_COL - 1] = name_datum(p->item_col);
	v[MODEL_RATING_COL - 1] = name_datum(p->rating_col);
	v[MODEL_TIME_COL - 1] = name_datum(p->time_col);
	v[MODEL_USER_TABLE - 1] = ObjectIdGetDatum(m->user_table);
	v[MODEL_ITEM_TABLE - 1] = ObjectIdGetDatum(m->item_table);
	v[MODEL_PARAM_TABLE - 1] = ObjectIdGetDatum(m->param_table);
	v[MODEL_USER_TYPE - 1] = ObjectIdGetDatum(p->user_type);
	v[MODEL_ITEM_TYPE - 1] = ObjectIdGetDatum(p->item_type);
	v[MODEL_USER_FEATURES - 1] = ObjectIdGetDatum(p->user_features);
	v[MODEL_ITEM_FEATURES - 1] = ObjectIdGetDatum(p->item_features);
	v[MODEL_DIM - 1] = Int32GetDatum(out->dim);
	v[MODEL_RANKING - 1] = Int32GetDatum((int32) out->ranking);
	v[MODEL_USERS - 1] = Int64GetDatum(p->job->input.n_users);
	v[MODEL_ITEMS - 1] = Int64GetDatum(p->job->input.n_items);
	v[MODEL_INTERACTIONS - 1] = Int64GetDatum(out->n_interactions);
	v[MODEL_EPOCHS - 1] = Int32GetDatum(out->epochs);
	v[MODEL_SECONDS - 1] = Float8GetDatum(p->seconds);
	v[MODEL_STAGES - 1] = stages_datum(&p->job->config);
	v[MODEL_CONFIG - 1] = JsonbPGetDatum(p->config);
	v[MODEL_SKIPPED - 1] = JsonbPGetDatum(p->skipped);
	v[MODEL_METRICS - 1] = JsonbPGetDatum(p->metrics);
	v[MODEL_BASELINE - 1] = JsonbPGetDatum(p->baseline);
	v[MODEL_CHOICE - 1] = CStringGetTextDatum(out->choice);
	v[MODEL_USER_RANKING_DIM - 1] = Int32GetDatum(out->user_ranking_dim);
	v[MODEL_ITEM_RANKING_DIM - 1] = Int32GetDatum(out->item_ranking_dim);
	v[MODEL_NOTICES - 1] = texts_datum(p->notices);
	return heap_form_tuple(RelationGetDescr(rel), v, nulls);
}

/* put a row in place of the one that is there, if any */
static void
replace_row(Relation rel, HeapTuple before, HeapTuple after)
{
	if (before == NULL)
		CatalogTupleInsert(rel, after);
	else
		CatalogTupleUpdate(rel, &before->t_self, after);
}

static void
delete_row(Relation rel, HeapTuple row)
{
	if (row != NULL)
		CatalogTupleDelete(rel, &row->t_self);
}

/* the row of a version whose rows are in other tables now */
static HeapTuple
row_with_tables(HeapTuple row, Relation rel, const StoreModel *tables,
				int version)
{
	Datum v[MODEL_NATTS];
	bool nulls[MODEL_NATTS] = {false};
	bool replace[MODEL_NATTS] = {false};

	v[MODEL_USER_TABLE - 1] = ObjectIdGetDatum(tables->user_table);
	v[MODEL_ITEM_TABLE - 1] = ObjectIdGetDatum(tables->item_table);
	v[MODEL_PARAM_TABLE - 1] = ObjectIdGetDatum(tables->param_table);
	/* the schema may have another name by now */
	v[MODEL_SCHEMA - 1] =
		name_datum(get_namespace_name(get_rel_namespace(tables->item_table)));
	v[MODEL_VERSION - 1] = Int32GetDatum(version);
	replace[MODEL_SCHEMA - 1] = replace[MODEL_VERSION - 1] = true;
	replace[MODEL_USER_TABLE - 1] = replace[MODEL_ITEM_TABLE - 1] =
		replace[MODEL_PARAM_TABLE - 1] = true;
	return heap_modify_tuple(row, RelationGetDescr(rel), v, nulls, replace);
}

/* what is kept for recsys_rollback now, goes */
static void
forget_old(Relation rel, HeapTuple row)
{
	StoreModel old;

	if (row == NULL)
		return;
	store_read(row, rel, &old);
	store_drop_tables(&old);
}

static Datum
float_or_null(double x, bool *isnull)
{
	*isnull = isnan(x);
	return Float8GetDatum(x);
}

static void
write_log(const StorePublish *p, int version)
{
	Relation rel = table_open(store_table_oid(STORE_LOG), RowExclusiveLock);

	for (int i = 0; i < p->job->n_log; i++)
	{
		const JobLog *log = &p->job->log[i];
		Datum v[LOG_NATTS];
		bool nulls[LOG_NATTS] = {false};

		v[LOG_SCHEMA - 1] = name_datum(get_namespace_name(p->schema));
		v[LOG_NAME - 1] = name_datum(p->name);
		v[LOG_VERSION - 1] = Int32GetDatum(version);
		v[LOG_STEP - 1] = Int32GetDatum(i + 1);
		v[LOG_STAGE - 1] = CStringGetTextDatum(log->stage);
		v[LOG_EPOCH - 1] = Int32GetDatum(log->epoch);
		v[LOG_TRAIN_LOSS - 1] =
			float_or_null(log->train_loss, &nulls[LOG_TRAIN_LOSS - 1]);
		v[LOG_METRIC - 1] = CStringGetTextDatum(log->metric);
		nulls[LOG_METRIC - 1] = log->metric[0] == '\0';
		v[LOG_VALUE - 1] = float_or_null(log->value, &nulls[LOG_VALUE - 1]);
		nulls[LOG_VALUE - 1] |= log->metric[0] == '\0';
		v[LOG_SECONDS - 1] = Float8GetDatum(log->seconds);
		CatalogTupleInsert(rel,
						   heap_form_tuple(RelationGetDescr(rel), v, nulls));
	}
	table_close(rel, RowExclusiveLock);
}

/* log rows of versions from .. to, that are kept no longer */
static void
delete_log(Oid schema, const char *name, int from, int to)
{
	Relation rel = table_open(store_table_oid(STORE_LOG), RowExclusiveLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	/* what this transaction has deleted already is not there */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

	list_free(RelationGetIndexList(rel));
	ScanKeyInit(&key[0], LOG_SCHEMA, BTEqualStrategyNumber, F_NAMEEQ,
				name_datum(get_namespace_name(schema)));
	ScanKeyInit(&key[1], LOG_NAME, BTEqualStrategyNumber, F_NAMEEQ,
				name_datum(name));
	scan = systable_beginscan(rel, rel->rd_pkindex, true, snapshot, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		int version = DatumGetInt32(
			heap_getattr(tuple, LOG_VERSION, RelationGetDescr(rel), &isnull));

		if (version >= from && version <= to)
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, RowExclusiveLock);
}

/* the state of a model while it is changed */
typedef struct Change
{
	Relation rel;
	Relation old_rel;
	HeapTuple row; /* of recsys_model, NULL when there is none */
	HeapTuple old_row;
	StoreModel model; /* of row */
	StoreModel old;
} Change;

static void
change_begin(Change *c, Oid schema, const char *name)
{
	memset(c, 0, sizeof(*c));
	store_settle_moved();
	SPI_connect();
	c->rel = table_open(store_table_oid(STORE_MODEL), RowExclusiveLock);
	c->old_rel = table_open(store_table_oid(STORE_MODEL_OLD), RowExclusiveLock);
	/* the lock may have been waited for: see what is there now */
	PushActiveSnapshot(GetLatestSnapshot());
	c->row = store_row(c->rel, schema, name, GetActiveSnapshot());
	c->old_row = store_row(c->old_rel, schema, name, GetActiveSnapshot());
	if (c->row != NULL)
		store_read(c->row, c->rel, &c->model);
	if (c->old_row != NULL)
		store_read(c->old_row, c->old_rel, &c->old);
}

static void
change_end(Change *c)
{
	table_close(c->old_rel, RowExclusiveLock);
	table_close(c->rel, RowExclusiveLock);
	SPI_finish();
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* tables of a model of which somebody dropped a part by hand */
static void
clear_remains(Change *c)
{
	if (c->row == NULL || store_tables_exist(&c->model))
		return;
	store_drop_tables(&c->model);
	delete_row(c->rel, c->row);
	delete_log(c->model.schema, NameStr(c->model.name), 0, INT_MAX);
	c->row = NULL;
	CommandCounterIncrement();
}

/* ours: the table that may have the name, InvalidOid for none */
static void
refuse_taken(Oid schema, const char *name, const char *suffix, Oid ours)
{
	char *table = psprintf("%s%s", name, suffix);
	Oid there = get_relname_relid(table, schema);

	if (OidIsValid(there) && there != ours)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists", table),
				 errdetail("It belongs to no model, and a model \"%s\" would "
						   "need the name.",
						   name),
				 errhint("Give the model another name, or drop or rename "
						 "the relation; what a model left behind goes by "
						 "recsys_drop('%s').",
						 name)));
}

/* what is published now of a model, or kept of it; all zero when nothing */
static void
read_latest(StoreTable table, Oid schema, const char *name, StoreModel *model)
{
	Relation rel = table_open(store_table_oid(table), AccessShareLock);
	HeapTuple row;

	memset(model, 0, sizeof(*model));
	PushActiveSnapshot(GetLatestSnapshot());
	row = store_row(rel, schema, name, GetActiveSnapshot());
	if (row != NULL)
		store_read(row, rel, model);
	PopActiveSnapshot();
	table_close(rel, AccessShareLock);
}

/* the rows of a version are deleted before those of the next one come */
static void
refuse_references(Oid table)
{
	/* recsys_drop may have taken it away meanwhile */
	Relation rel = try_table_open(table, AccessShareLock);

	if (rel == NULL)
		return;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers;
		 i++)
	{
		const Trigger *t = &rel->trigdesc->triggers[i];

		if (t->tgconstrrelid != table && !t->tginitdeferred &&
			TRIGGER_FOR_DELETE(t->tgtype) &&
			RI_FKey_trigger_type(t->tgfoid) == RI_TRIGGER_PK)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("table \"%s\" refers to table \"%s\" by a foreign "
							"key",
							get_rel_name(t->tgconstrrelid),
							RelationGetRelationName(rel)),
					 errdetail("A training replaces the rows of \"%s\".",
							   RelationGetRelationName(rel)),
					 errhint("Make the foreign key ON DELETE NO ACTION "
							 "DEFERRABLE INITIALLY DEFERRED, or let it refer "
							 "to a table of your own.")));
	}
	table_close(rel, AccessShareLock);
}

/* rows that a policy hides from whoever trains could not be replaced */
static void
refuse_policies(Oid table)
{
	if (check_enable_rls(table, GetUserId(), true) == RLS_ENABLED)
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("row-level security is in force for you on table "
					"\"%s\"",
					get_rel_name(table)),
			 errdetail("A training replaces the rows of the table."),
			 errhint("ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, or train "
					 "as a role with BYPASSRLS.")));
}

void
store_check_target(Oid schema, const char *name)
{
	StoreModel model;
	StoreModel old;

	read_latest(STORE_MODEL, schema, name, &model);
	read_latest(STORE_MODEL_OLD, schema, name, &old);
	if (!pg_may_create_in(schema, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s",
						get_namespace_name(schema)),
				 errhint("Put the model into a schema in which you may create "
						 "tables: model => 'schema.name'.")));
	refuse_taken(schema, name, "_user", model.user_table);
	refuse_taken(schema, name, "_item", model.item_table);
	refuse_taken(schema, name, "_param", model.param_table);
	refuse_taken(schema, name, "_user_old", old.user_table);
	refuse_taken(schema, name, "_item_old", old.item_table);
	refuse_taken(schema, name, "_param_old", old.param_table);
	store_check_remains(&model);
	store_check_remains(&old);
	if (!store_tables_exist(&model))
		return;
	store_check_owner(&model);
	store_check_columns(&model);
	refuse_policies(model.user_table);
	refuse_policies(model.item_table);
	refuse_policies(model.param_table);
	refuse_references(model.user_table);
	refuse_references(model.item_table);
}

void
store_reserve(Oid schema, const char *name)
{
	StoreModel model;

	read_latest(STORE_MODEL, schema, name, &model);
	if (!store_tables_exist(&model))
		return;
	LockRelationOid(model.user_table, ShareUpdateExclusiveLock);
	LockRelationOid(model.item_table, ShareUpdateExclusiveLock);
}

int
store_publish(const StorePublish *p)
{
	Change c;
	StoreModel next = {0};
	StoreModel kept;
	HeapTuple row;

	change_begin(&c, p->schema, p->name);
	clear_remains(&c);
	next.version = c.row != NULL ? c.model.version + 1 : 1;
	next.dim = p->job->output.dim;
	next.users = p->job->input.n_users;
	next.items = p->job->input.n_items;
	if (c.row != NULL)
	{
		store_check_owner(&c.model);
		store_keep_old(&c.model, c.old_row != NULL ? &c.old : NULL, &kept);
		replace_row(c.old_rel, c.old_row,
					row_with_tables(c.row, c.rel, &kept, c.model.version));
		delete_log(p->schema, p->name, 0, c.model.version - 1);
	}
	else
	{
		forget_old(c.old_rel, c.old_row);
		delete_row(c.old_rel, c.old_row);
		/* of a model whose row is gone */
		delete_log(p->schema, p->name, 0, INT_MAX);
	}
	store_prepare_tables(p, c.row != NULL ? &c.model : NULL, &next);
	store_fill_tables(p, &next);
	CommandCounterIncrement();
	row = form_row(c.rel, p, &next);
	replace_row(c.rel, c.row, row);
	/* the row first: an index of the model looks there who will ask it */
	CommandCounterIncrement();
	store_build_indexes(&next);
	write_log(p, next.version);
	change_end(&c);
	return next.version;
}

static void
gone(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("model \"%s\" does not exist", name)));
}

/*
 * The version before becomes the present one again; the one that was present
 * is gone, and there is no version before.
 */
int
store_rollback(Oid schema, const char *name)
{
	Change c;

	change_begin(&c, schema, name);
	if (c.row == NULL || !store_tables_exist(&c.model))
		gone(name);
	store_check_owner(&c.model);
	if (c.old_row == NULL || c.old.version == NO_VERSION ||
		!store_tables_exist(&c.old))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("model \"%s\" has no version before %d", name,
							   c.model.version)));
	store_check_owner(&c.old);
	store_restore_old(&c.model, &c.old);
	replace_row(c.rel, c.row,
				row_with_tables(c.old_row, c.rel, &c.model, c.old.version));
	/* who reads the old tables, as pg_dump does, is not waited for */
	if (ConditionalLockRelationOid(c.old.user_table, AccessExclusiveLock) &&
		ConditionalLockRelationOid(c.old.item_table, AccessExclusiveLock) &&
		ConditionalLockRelationOid(c.old.param_table, AccessExclusiveLock))
	{
		delete_row(c.old_rel, c.old_row);
		store_drop_tables(&c.old);
	}
	else
		replace_row(c.old_rel, c.old_row,
					row_with_tables(c.old_row, c.old_rel, &c.old, NO_VERSION));
	delete_log(schema, name, c.old.version + 1, INT_MAX);
	change_end(&c);
	return c.old.version;
}

/* all of it, or what is left of it */
void
store_drop(Oid schema, const char *name)
{
	Change c;

	change_begin(&c, schema, name);
	if (c.row == NULL)
		gone(name);
	forget_old(c.old_rel, c.old_row);
	delete_row(c.old_rel, c.old_row);
	store_drop_tables(&c.model);
	delete_row(c.rel, c.row);
	delete_log(schema, name, 0, INT_MAX);
	change_end(&c);
}

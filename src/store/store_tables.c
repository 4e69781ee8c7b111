/*
 * store_tables.c
 *		The tables of a model: made, emptied, kept as old, indexed, dropped.
 *
 * All of it is SQL run with the caller's rights, built of quoted names that
 * were read from the catalogs. SPI must be connected.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "index/ann.h"
#include "pg/pg_compat.h"
#include "store/store_catalog.h"

char *
store_quoted(Oid schema, const char *name, const char *suffix)
{
	return quote_qualified_identifier(get_namespace_name(schema),
									  psprintf("%s%s", name, suffix));
}

char *
store_quoted_relation(Oid relation)
{
	return quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(relation)),
		get_rel_name(relation));
}

void
store_run(const char *sql)
{
	int code = SPI_execute(sql, false, 0);

	if (code < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(code));
}

static void
check_owner(Oid relation)
{
	if (!pg_owns_relation(relation, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE,
					   get_rel_name(relation));
	if (get_rel_relkind(relation) != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", get_rel_name(relation))));
}

void
store_check_owner(const StoreModel *model)
{
	check_owner(model->user_table);
	check_owner(model->item_table);
	check_owner(model->param_table);
}

static char *
vector_column(int dim)
{
	const char *type = format_type_be_qualified(store_vector_type());

	return dim > 0 ? psprintf("%s(%d)", type, dim) : pstrdup(type);
}

static char *
key_column(Oid type, Oid collation)
{
	const char *name = format_type_be_qualified(type);
	HeapTuple tuple;
	char *clause;

	if (!OidIsValid(collation) || collation == DEFAULT_COLLATION_OID)
		return pstrdup(name);
	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	if (!HeapTupleIsValid(tuple))
		return pstrdup(name);
	clause = psprintf(
		"%s COLLATE %s", name,
		quote_qualified_identifier(
			get_namespace_name(
				((Form_pg_collation) GETSTRUCT(tuple))->collnamespace),
			NameStr(((Form_pg_collation) GETSTRUCT(tuple))->collname)));
	ReleaseSysCache(tuple);
	return clause;
}

static Oid
made_table(const StorePublish *p, const char *suffix)
{
	return get_relname_relid(psprintf("%s%s", p->name, suffix), p->schema);
}

/* serving caches of a table are dropped when anything in it changes */
static void
make_trigger(const char *table)
{
	store_run(psprintf(
		"CREATE TRIGGER recsys_changed AFTER INSERT OR UPDATE OR DELETE OR "
		"TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION "
		"%s.recsys_model_changed()",
		table, quote_identifier(get_namespace_name(store_extension_schema()))));
	/* also for writers with session_replication_role = replica */
	store_run(
		psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER recsys_changed", table));
	/* a subscriber of logical replication fires triggers by row alone */
	store_run(psprintf(
		"CREATE TRIGGER recsys_applied AFTER INSERT OR UPDATE OR DELETE ON %s "
		"FOR EACH ROW EXECUTE FUNCTION %s.recsys_model_changed()",
		table, quote_identifier(get_namespace_name(store_extension_schema()))));
	store_run(psprintf("ALTER TABLE %s ENABLE REPLICA TRIGGER recsys_applied",
					   table));
}

static void
make_side_table(const StorePublish *p, const char *suffix, const char *key,
				Oid type, Oid collation, int ranking_dim)
{
	char *table = store_quoted(p->schema, p->name, suffix);

	store_run(psprintf("CREATE TABLE %s (%s %s PRIMARY KEY, embedding %s, "
					   "ranking %s, interactions pg_catalog.int4 NOT NULL)",
					   table, key, key_column(type, collation),
					   vector_column(p->job->output.dim),
					   vector_column(ranking_dim)));
	make_trigger(table);
}

static void
make_tables(const StorePublish *p)
{
	char *table = store_quoted(p->schema, p->name, "_param");

	make_side_table(p, "_user", "user_id", p->user_type, p->user_collation,
					p->job->output.user_ranking_dim);
	make_side_table(p, "_item", "item_id", p->item_type, p->item_collation,
					p->job->output.item_ranking_dim);
	store_run(psprintf("CREATE TABLE %s (name pg_catalog.text COLLATE "
					   "pg_catalog.\"C\" PRIMARY KEY, "
					   "shape pg_catalog.int4[] NOT NULL, "
					   "value pg_catalog.float4[] NOT NULL)",
					   table));
	make_trigger(table);
}

static void
alter_column(Oid relation, const char *column, const char *declaration,
			 Oid type, int32 typmod, Oid collation)
{
	AttrNumber attno = get_attnum(relation, column);
	Oid type_now;
	int32 typmod_now;
	Oid collation_now;

	if (attno == InvalidAttrNumber)
		return;
	get_atttypetypmodcoll(relation, attno, &type_now, &typmod_now,
						  &collation_now);
	if (type_now == store_vector_type() && type == type_now &&
		typmod_now != typmod)
		store_set_dimension(relation, attno, typmod);
	else if (type_now != type || typmod_now != typmod ||
			 collation_now != collation)
		store_run(psprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s USING NULL",
						   store_quoted_relation(relation), column,
						   declaration));
}

/* a stage that the new version has not leaves its column as it is, since an
 * index needs the dimension */
static void
alter_vector(Oid relation, const char *column, int dim)
{
	if (dim > 0)
		alter_column(relation, column, vector_column(dim), store_vector_type(),
					 dim, InvalidOid);
}

/* an emptied table gets the types of the new version */
static void
adapt_table(const StorePublish *p, Oid relation, const char *key, Oid type,
			Oid collation, int ranking_dim)
{
	alter_column(relation, key, key_column(type, collation), type, -1,
				 collation);
	alter_vector(relation, "embedding", p->job->output.dim);
	alter_vector(relation, "ranking", ranking_dim);
}

static void
empty_table(Oid relation)
{
	store_run(psprintf("DELETE FROM ONLY %s", store_quoted_relation(relation)));
}

/*
 * before: the model's present version, or NULL when it is new. Its rows must
 * have been kept by store_keep_old already.
 */
void
store_prepare_tables(const StorePublish *p, const StoreModel *before,
					 StoreModel *model)
{
	if (before == NULL)
	{
		make_tables(p);
		model->user_table = made_table(p, "_user");
		model->item_table = made_table(p, "_item");
		model->param_table = made_table(p, "_param");
		return;
	}
	model->user_table = before->user_table;
	model->item_table = before->item_table;
	model->param_table = before->param_table;
	empty_table(before->user_table);
	empty_table(before->item_table);
	empty_table(before->param_table);
	adapt_table(p, before->user_table, "user_id", p->user_type,
				p->user_collation, p->job->output.user_ranking_dim);
	adapt_table(p, before->item_table, "item_id", p->item_type,
				p->item_collation, p->job->output.item_ranking_dim);
}

static Oid
owner_of(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static bool
has_columns(Oid relation)
{
	AttrNumber vector = get_attnum(relation, "embedding");

	return (vector > 0 &&
			get_atttype(relation, vector) == store_vector_type()) ||
		   (get_attnum(relation, "name") > 0 &&
			get_attnum(relation, "shape") > 0 &&
			get_attnum(relation, "value") > 0);
}

/*
 * A number in a row that was restored or edited may be another table's now:
 * it has our name, or our columns.
 */
static bool
is_of_model(const StoreModel *model, Oid relation)
{
	const char *name = get_rel_name(relation);
	size_t prefix = strlen(NameStr(model->name));

	/* nobody keeps it from being dropped */
	if (name == NULL)
		return false;
	return (strncmp(name, NameStr(model->name), prefix) == 0 &&
			name[prefix] == '_') ||
		   has_columns(relation);
}

void
store_check_remains(const StoreModel *model)
{
	const Oid tables[3] = {model->user_table, model->item_table,
						   model->param_table};

	for (int i = 0; i < 3; i++)
		if (OidIsValid(tables[i]) && is_of_model(model, tables[i]))
			check_owner(tables[i]);
}

static void
drop_table(const StoreModel *model, Oid relation)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
		return;
	if (!is_of_model(model, relation))
	{
		ereport(WARNING,
				(errmsg("table \"%s\" is kept: it does not look like one of "
						"model \"%s\"",
						get_rel_name(relation), NameStr(model->name))));
		return;
	}
	check_owner(relation);
	store_run(psprintf("DROP TABLE %s", store_quoted_relation(relation)));
}

/* columns of the same names and types in the same order, but for dimensions */
static bool
is_alike(Oid relation, Oid other)
{
	Relation a = table_open(relation, AccessShareLock);
	Relation b = table_open(other, AccessShareLock);
	TupleDesc x = RelationGetDescr(a), y = RelationGetDescr(b);
	bool alike = x->natts == y->natts;

	for (int i = 0; alike && i < x->natts; i++)
	{
		Form_pg_attribute c = TupleDescAttr(x, i), d = TupleDescAttr(y, i);

		alike = !c->attisdropped && !d->attisdropped &&
				strcmp(NameStr(c->attname), NameStr(d->attname)) == 0 &&
				c->atttypid == d->atttypid &&
				c->attcollation == d->attcollation &&
				(c->atttypmod == d->atttypmod ||
				 c->atttypid == store_vector_type());
	}
	table_close(b, AccessShareLock);
	table_close(a, AccessShareLock);
	return alike;
}

static void
follow_dimensions(Oid relation, Oid old)
{
	for (AttrNumber a = 1; get_attname(old, a, true) != NULL; a++)
	{
		Oid type;
		int32 typmod, before;
		Oid collation;

		get_atttypetypmodcoll(relation, a, &type, &typmod, &collation);
		get_atttypetypmodcoll(old, a, &type, &before, &collation);
		if (type == store_vector_type() && typmod != before)
			store_set_dimension(old, a, typmod);
	}
}

/*
 * The rows of a table into its old table. One that is there is emptied, not
 * dropped: nobody who reads it, pg_dump above all, is waited for.
 */
static Oid
keep_table(Oid relation, const StoreModel *old, Oid there)
{
	Oid schema = get_rel_namespace(relation);
	char *name = get_rel_name(relation);
	char *from = store_quoted_relation(relation);
	char *to = store_quoted(schema, name, "_old");
	Oid owner;

	if (OidIsValid(there) && get_rel_name(there) != NULL)
	{
		if (strcmp(store_quoted_relation(there), to) == 0 &&
			is_alike(relation, there))
		{
			check_owner(there);
			empty_table(there);
			follow_dimensions(relation, there);
			store_run(
				psprintf("INSERT INTO %s SELECT * FROM ONLY %s", to, from));
			return there;
		}
		drop_table(old, there);
	}
	store_run(psprintf("CREATE TABLE %s AS SELECT * FROM ONLY %s", to, from));
	/* a superuser or a fellow member may train for the owner */
	owner = owner_of(relation);
	if (owner != GetUserId() &&
		(superuser() || (pg_may_give_to(GetUserId(), owner) &&
						 pg_may_create_in(schema, owner))))
		store_run(psprintf("ALTER TABLE %s OWNER TO %s", to,
						   quote_identifier(GetUserNameFromId(owner, false))));
	return get_relname_relid(psprintf("%s_old", name), schema);
}

void
store_keep_old(const StoreModel *model, const StoreModel *before,
			   StoreModel *old)
{
	static const StoreModel none;

	if (before == NULL)
		before = &none;
	old->user_table = keep_table(model->user_table, before, before->user_table);
	old->item_table = keep_table(model->item_table, before, before->item_table);
	old->param_table =
		keep_table(model->param_table, before, before->param_table);
}

static void
alter_like(Oid relation, Oid from, const char *column)
{
	AttrNumber attno = get_attnum(from, column);
	Oid type;
	int32 typmod;
	Oid collation;

	if (attno == InvalidAttrNumber)
		return;
	get_atttypetypmodcoll(from, attno, &type, &typmod, &collation);
	if (type == store_vector_type() && typmod < 0)
		return; /* without vectors any dimension will do */
	alter_column(relation, column,
				 type == store_vector_type() ? vector_column(typmod)
											 : key_column(type, collation),
				 type, typmod, collation);
}

static void
restore_side(Oid relation, Oid from, const char *key)
{
	empty_table(relation);
	alter_like(relation, from, key);
	alter_like(relation, from, "embedding");
	alter_like(relation, from, "ranking");
	store_copy_side(relation, from, key);
	empty_table(from);
}

void
store_restore_old(const StoreModel *model, const StoreModel *old)
{
	StoreModel next = *old;

	restore_side(model->user_table, old->user_table, "user_id");
	restore_side(model->item_table, old->item_table, "item_id");
	empty_table(model->param_table);
	store_run(
		psprintf("INSERT INTO %s (name, shape, value) SELECT name, shape, "
				 "value FROM ONLY %s",
				 store_quoted_relation(model->param_table),
				 store_quoted_relation(old->param_table)));
	empty_table(old->param_table);
	next.user_table = model->user_table;
	next.item_table = model->item_table;
	store_build_indexes(&next);
}

void
store_drop_tables(const StoreModel *model)
{
	drop_table(model, model->user_table);
	drop_table(model, model->item_table);
	drop_table(model, model->param_table);
}

/* made by a training: the trigger that sends invalidations is there */
static bool
is_marked(Oid relation)
{
	Relation rel = try_relation_open(relation, AccessShareLock);
	bool marked = false;

	if (rel == NULL)
		return false;
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers;
		 i++)
	{
		Oid function = rel->trigdesc->triggers[i].tgfoid;

		marked |= get_func_namespace(function) == store_extension_schema() &&
				  strcmp(get_func_name(function), "recsys_model_changed") == 0;
	}
	relation_close(rel, NoLock);
	return marked;
}

/* a model's, under whatever name */
static bool
is_in_use(Oid relation)
{
	const char *schema =
		quote_identifier(get_namespace_name(store_extension_schema()));
	bool found = false;

	for (int old = 0; old < 2 && !found; old++)
	{
		store_run(psprintf(
			"SELECT FROM %s.recsys_model%s WHERE %u::pg_catalog.oid "
			"OPERATOR(pg_catalog.=) ANY (ARRAY[user_table, item_table, "
			"param_table]::pg_catalog.oid[])",
			schema, old ? "_old" : "", relation));
		found = SPI_processed > 0;
	}
	return found;
}

bool
store_drop_strays(Oid schema, const char *name)
{
	static const char *const suffixes[] = {
		"_user", "_item", "_param", "_user_old", "_item_old", "_param_old"};
	StoreModel model = {0};
	bool any = false;

	namestrcpy(&model.name, name);
	SPI_connect();
	for (int i = 0; i < (int) lengthof(suffixes); i++)
	{
		Oid there =
			get_relname_relid(psprintf("%s%s", name, suffixes[i]), schema);

		/* old tables have no triggers */
		if (!OidIsValid(there) || (i < 3 ? !is_marked(there) : !any) ||
			!has_columns(there) || is_in_use(there))
			continue;
		drop_table(&model, there);
		any = true;
	}
	SPI_finish();
	return any;
}

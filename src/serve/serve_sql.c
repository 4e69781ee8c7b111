/*
 * serve_sql.c
 *		The same answers by plain SQL, for tables that are not packed.
 *
 * Taken when a table is larger than recsys.cache_size, has row-level
 * policies for the caller, or is no ordinary table, and for the first
 * question of a session. An index with the access method ann gives the rows
 * in order; as many are asked for as must contain k that are not to be
 * skipped, so the answer is never short.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "serve/serve.h"

char *
serve_sql_column(const ServeTable *table, AttrNumber att)
{
	return pstrdup(quote_identifier(NameStr(
		TupleDescAttr(RelationGetDescr(table->rel), att - 1)->attname)));
}

bool
serve_sql_vector(ServeTable *table, Datum key, Vector **vector)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum value = serve_key_native(&table->key, key);
	char *query =
		psprintf("SELECT %s, %s FROM %s WHERE %s OPERATOR(pg_catalog.=) $1",
				 serve_sql_column(table, table->vector_att),
				 table->interactions_att != 0
					 ? serve_sql_column(table, table->interactions_att)
					 : "NULL",
				 serve_table_name(RelationGetRelid(table->rel)),
				 serve_sql_column(table, table->key_att));
	bool found;

	*vector = NULL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, 1, &table->key.type, &value, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not read a row of a model");
	found = SPI_processed > 0;
	if (found)
	{
		bool isnull;
		Datum datum = SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
		{
			Vector *v = vector_from_datum(datum);

			*vector = MemoryContextAlloc(caller, VARSIZE(v));
			memcpy(*vector, v, VARSIZE(v));
		}
		datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2,
							  &isnull);
		if (table->interactions_att != 0)
			table->interactions = isnull ? 0 : DatumGetInt32(datum);
	}
	SPI_finish();
	return found;
}

Vector *
serve_sql_mean(ServeTable *table)
{
	MemoryContext caller = CurrentMemoryContext;
	char *query = psprintf("SELECT %s.avg(%s) FROM %s",
						   quote_identifier(get_namespace_name(table->schema)),
						   serve_sql_column(table, table->vector_att),
						   serve_table_name(RelationGetRelid(table->rel)));
	Vector *mean = NULL;
	Datum datum;
	bool isnull;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not compute the mean of a model's vectors");
	datum =
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		Vector *v = vector_from_datum(datum);

		mean = MemoryContextAlloc(caller, VARSIZE(v));
		memcpy(mean, v, VARSIZE(v));
	}
	SPI_finish();
	return mean;
}

/* rows of (key, score) from a portal, until k are written or none is left */
static int64
write_rows(ServeTable *table, Portal portal, int64 k, const ServeMap *skip,
		   ServeRows *rows, const char *source)
{
	int64 n = 0;
	int64 batch = Min(Max(k + (skip != NULL ? skip->used : 0), 1), 1000);

	while (n < k)
	{
		SPI_cursor_fetch(portal, true, batch);
		for (uint64 i = 0; i < SPI_processed && n < k; i++)
		{
			HeapTuple tuple = SPI_tuptable->vals[i];
			TupleDesc desc = SPI_tuptable->tupdesc;
			bool isnull;
			Datum score;
			Datum key = SPI_getbinval(tuple, desc, 1, &isnull);

			if (isnull)
				continue;
			key = serve_key_read(&table->key, key);
			if (skip != NULL && serve_map_find(skip, key) >= 0)
				continue;
			score = SPI_getbinval(tuple, desc, 2, &isnull);
			serve_rows_put(rows, &table->key, ++n, key,
						   isnull ? 0 : DatumGetFloat8(score), source);
		}
		if (SPI_processed < (uint64) batch)
			break;
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	return n;
}

static int64
run(ServeTable *table, const char *query, int nargs, Oid *types, Datum *values,
	int64 k, const ServeMap *skip, ServeRows *rows, const char *source)
{
	Portal portal;
	int64 n;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	portal =
		SPI_cursor_open_with_args(NULL, query, nargs, types, values, NULL, true,
								  CURSOR_OPT_NO_SCROLL | CURSOR_OPT_FAST_PLAN);
	n = write_rows(table, portal, k, skip, rows, source);
	SPI_cursor_close(portal);
	SPI_finish();
	return n;
}

/* so many rows have k that are not to be skipped; the planner must know */
static long long
rows_enough(int64 k, const ServeMap *skip)
{
	return (long long) (k + (skip != NULL ? skip->used : 0));
}

int64
serve_sql_top(ServeTable *table, const Vector *query, bool cosine, bool exact,
			  int64 k, const ServeMap *skip, ServeRows *rows,
			  const char *source)
{
	char *key = serve_sql_column(table, table->key_att);
	char *embedding = serve_sql_column(table, table->vector_att);
	char *distance = psprintf("%s %s $1", embedding,
							  serve_operator(table, cosine ? "<=>" : "<#>"));
	Form_pg_attribute att =
		TupleDescAttr(RelationGetDescr(table->rel), table->vector_att - 1);
	char *text = psprintf(
		"SELECT %s, %s (%s) FROM %s WHERE %s IS NOT NULL ORDER BY %s LIMIT "
		"%lld",
		key,
		cosine ? "1::pg_catalog.float8 OPERATOR(pg_catalog.-)"
			   : "OPERATOR(pg_catalog.-)",
		distance, serve_table_name(RelationGetRelid(table->rel)), embedding,
		distance, rows_enough(k, skip));
	Datum value = PointerGetDatum(query);
	Oid type = att->atttypid;
	int level = NewGUCNestLevel();
	int64 n;

	if (exact)
		(void) set_config_option("recsys.target_recall", "1", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	n = run(table, text, 1, &type, &value, k, skip, rows, source);
	AtEOXact_GUC(true, level);
	return n;
}

int64
serve_sql_popular(ServeTable *table, int64 k, const ServeMap *skip,
				  ServeRows *rows)
{
	char *key = serve_sql_column(table, table->key_att);
	char *count = serve_sql_column(table, table->interactions_att);
	char *text =
		psprintf("SELECT %s, %s::pg_catalog.float8 FROM %s WHERE %s IS NOT "
				 "NULL ORDER BY %s DESC NULLS LAST, %s%s LIMIT %lld",
				 key, count, serve_table_name(RelationGetRelid(table->rel)),
				 serve_sql_column(table, table->vector_att), count, key,
				 table->key.kind == KEY_TEXT ? " COLLATE pg_catalog.\"C\"" : "",
				 rows_enough(k, skip));

	return run(table, text, 0, NULL, NULL, k, skip, rows, "popular");
}

/*
 * serve_pairs.c
 *		Tables of ratings in memory, users and items as numbers.
 *
 * Twelve bytes a row. Keys get the numbers of the model's packed tables, and
 * keys that the model does not know the numbers after those.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "serve/serve.h"

typedef struct Reader
{
	ServePairs *pairs;
	ServeNames *users;
	ServeNames *items;
	MemoryContext context;
} Reader;

static void
keep_key(ServeNames *names, Datum key)
{
	if (names->n == names->capacity)
	{
		if (names->capacity > PG_INT32_MAX / 4)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("too many users or items")));
		names->capacity *= 2;
		names->keys =
			repalloc_huge(names->keys, sizeof(Datum) * names->capacity);
	}
	names->keys[names->n++] = key;
}

void
serve_names_init(ServeNames *names, const ServeKeyType *type,
				 const ServePack *pack)
{
	int32 known = pack != NULL ? pack->n : 0;

	names->map = serve_map_new(type, (uint32) known + 64);
	names->n = 0;
	names->capacity = known + 64;
	names->keys = MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(Datum) * names->capacity);
	for (int32 i = 0; i < known; i++)
	{
		serve_map_add(names->map, pack->keys[i], i, false);
		keep_key(names, pack->keys[i]);
	}
	names->known = names->n;
}

static int32
number_of(ServeNames *names, Datum raw)
{
	Datum key = serve_key_read(&names->map->type, raw);
	int32 number = serve_map_find(names->map, key);

	if (number >= 0)
		return number;
	/* the executor's memory goes: keep a copy of one's own */
	key = serve_key_copy(&names->map->type, key);
	number = names->n;
	serve_map_add(names->map, key, number, false);
	keep_key(names, key);
	return number;
}

static bool
add_pair(TupleTableSlot *slot, void *arg)
{
	Reader *r = arg;
	ServePairs *pairs = r->pairs;
	MemoryContext old;
	ServePair *pair;
	bool null_user, null_item, null_rating = true;
	Datum user = slot_getattr(slot, 1, &null_user);
	Datum item = slot_getattr(slot, 2, &null_item);
	Datum rating = pairs->rated ? slot_getattr(slot, 3, &null_rating) : 0;

	if (null_user || null_item)
		return true;
	old = MemoryContextSwitchTo(r->context);
	if (pairs->n == pairs->capacity)
	{
		pairs->capacity *= 2;
		pairs->rows = repalloc_huge(pairs->rows,
									sizeof(ServePair) * (Size) pairs->capacity);
	}
	pair = &pairs->rows[pairs->n++];
	pair->user = number_of(r->users, user);
	pair->item = number_of(r->items, item);
	pair->rating = null_rating ? NAN : (float) DatumGetFloat8(rating);
	MemoryContextSwitchTo(old);
	return true;
}

/* the column itself, else (guess) the first usual name that the table has */
static const char *
find_column(Oid relation, const char *name, const char *const *usual)
{
	if (name[0] != '\0' && get_attnum(relation, name) > 0)
		return name;
	for (int i = 0; usual != NULL && usual[i] != NULL; i++)
		if (get_attnum(relation, usual[i]) > 0)
			return usual[i];
	return NULL;
}

static const char *
need_column(Oid relation, const char *name, const char *const *usual)
{
	const char *found = find_column(relation, name, usual);

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name,
						get_rel_name(relation)),
				 errhint("The columns must have the names that they have in "
						 "the model's ratings table; a view can rename "
						 "them.")));
	return found;
}

char *
serve_pairs_query(const StoreModel *model, Oid relation, bool guess,
				  const char *more, bool *rated)
{
	const char *rating = NULL;
	const char *user = need_column(relation, NameStr(model->user_col),
								   guess ? store_user_names : NULL);
	const char *item = need_column(relation, NameStr(model->item_col),
								   guess ? store_item_names : NULL);
	StringInfoData query;

	if (NameStr(model->rating_col)[0] != '\0')
		rating = find_column(relation, NameStr(model->rating_col),
							 guess ? store_rating_names : NULL);
	*rated = rating != NULL;
	initStringInfo(&query);
	appendStringInfo(&query, "SELECT t.%s::%s", quote_identifier(user),
					 format_type_be_qualified(model->user_type));
	appendStringInfo(&query, ", t.%s::%s", quote_identifier(item),
					 format_type_be_qualified(model->item_type));
	if (rating != NULL)
		/* numeric has no cast from boolean, integer has */
		appendStringInfo(
			&query, ", t.%s%s::pg_catalog.float8", quote_identifier(rating),
			getBaseType(get_atttype(relation, get_attnum(relation, rating))) ==
					BOOLOID
				? "::pg_catalog.int4"
				: "");
	if (more != NULL)
		appendStringInfo(&query, ", %s", more);
	appendStringInfo(&query, " FROM %s t", serve_table_name(relation));
	return query.data;
}

void
serve_pairs_read(ServePairs *pairs, const StoreModel *model, Oid relation,
				 bool guess, ServeNames *users, ServeNames *items)
{
	Reader r = {pairs, users, items, CurrentMemoryContext};
	char *query;

	if (get_rel_name(relation) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	query = serve_pairs_query(model, relation, guess, NULL, &pairs->rated);
	pairs->n = 0;
	pairs->capacity = 1024;
	pairs->rows = palloc(sizeof(ServePair) * (Size) pairs->capacity);
	serve_query(query, 0, NULL, NULL, add_pair, &r);
}

static int
compare_items(const void *a, const void *b)
{
	const ServePair *x = a;
	const ServePair *y = b;

	return x->item < y->item ? -1 : x->item > y->item;
}

int64 *
serve_pairs_by_user(ServePairs *pairs, int32 n_users)
{
	int64 *ptr = MemoryContextAllocHuge(CurrentMemoryContext,
										sizeof(int64) * ((Size) n_users + 2));
	ServePair *sorted = MemoryContextAllocHuge(
		CurrentMemoryContext, sizeof(ServePair) * (Size) Max(pairs->n, 1));

	memset(ptr, 0, sizeof(int64) * ((Size) n_users + 2));
	for (int64 i = 0; i < pairs->n; i++)
		ptr[pairs->rows[i].user + 2]++;
	for (int32 u = 0; u < n_users; u++)
		ptr[u + 2] += ptr[u + 1];
	for (int64 i = 0; i < pairs->n; i++)
		sorted[ptr[pairs->rows[i].user + 1]++] = pairs->rows[i];
	for (int32 u = 0; u < n_users; u++)
	{
		CHECK_FOR_INTERRUPTS();
		qsort(sorted + ptr[u], ptr[u + 1] - ptr[u], sizeof(ServePair),
			  compare_items);
	}
	pfree(pairs->rows);
	pairs->rows = sorted;
	pairs->capacity = Max(pairs->n, 1);
	return ptr;
}

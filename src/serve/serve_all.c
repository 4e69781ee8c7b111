/*
 * serve_all.c
 *		recommend_all: the k best items of every user, exactly.
 *
 * Users come from a cursor in batches, so memory does not grow with their
 * number; the items lie packed in falling order of their norms. A block of
 * users is multiplied with one tile of items after the other. A user whose
 * bound falls below the k-th best score found is done and leaves the block;
 * the block ends with its last user. The seen items of a batch are read by
 * one query and become NaN among the scores, which no heap takes.
 */
#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "math/topk.h"
#include "math/vec.h"
#include "serve/serve.h"

#define BATCH 2048
#define BLOCK 64
#define TILE 512
#define MAX_SEEN 4000000 /* pairs of one batch, as far as can be foreseen */

/* a user of the batch */
typedef struct User
{
	Datum key;
	float norm;
	int32 *seen; /* (n_seen) rows of the pack, rising */
	int32 n_seen;
	int32 next_seen; /* the first of them that is not yet behind */
	TopK top;
} User;

typedef struct Seen
{
	int32 user;
	int32 row;
} Seen;

typedef struct All
{
	StoreModel model;
	int64 k;
	bool exclude_seen;
	ServePack *pack;
	ServeTable table; /* of users */
	ServeRows rows;
	MemoryContext batch_context;
	/* one batch, in batch_context */
	int n;
	User *users;    /* (n) */
	float *vectors; /* (n, dim) */
	ServeMap *map;  /* key to number */
	Seen *seen;
	int64 n_seen;
	int64 seen_capacity;
} All;

static bool
add_seen(TupleTableSlot *slot, void *arg)
{
	All *a = arg;
	bool null_user, null_item;
	Datum user = slot_getattr(slot, 1, &null_user);
	Datum item = slot_getattr(slot, 2, &null_item);
	Seen pair;

	if (null_user || null_item)
		return true;
	pair.user = serve_map_find(a->map, serve_key_read(&a->map->type, user));
	pair.row = serve_pack_find(a->pack, serve_key_read(&a->pack->key, item));
	if (pair.user < 0 || pair.row < 0)
		return true;
	if (a->n_seen == a->seen_capacity)
	{
		a->seen_capacity *= 2;
		a->seen =
			repalloc_huge(a->seen, sizeof(Seen) * (Size) a->seen_capacity);
	}
	a->seen[a->n_seen++] = pair;
	return true;
}

static int
compare_seen(const void *a, const void *b)
{
	const Seen *x = a;
	const Seen *y = b;

	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static Datum
keys_of_batch(const All *a)
{
	int16 len;
	bool byval;
	char align;
	Datum *keys = palloc(sizeof(Datum) * a->n);

	get_typlenbyvalalign(a->table.key.type, &len, &byval, &align);
	for (int i = 0; i < a->n; i++)
		keys[i] = serve_key_native(&a->table.key, a->users[i].key);
	return PointerGetDatum(
		construct_array(keys, a->n, a->table.key.type, len, byval, align));
}

static void
read_seen(All *a)
{
	Oid type = get_array_type(a->table.key.type);
	Datum keys = keys_of_batch(a);
	const char *user = quote_identifier(NameStr(a->model.user_col));
	char *query;

	a->n_seen = 0;
	a->seen_capacity = 1024;
	a->seen = palloc(sizeof(Seen) * a->seen_capacity);
	query = psprintf("SELECT r.%s::%s, r.%s::%s FROM %s r "
					 "WHERE r.%s OPERATOR(pg_catalog.=) ANY ($1)",
					 user, format_type_be_qualified(a->model.user_type),
					 quote_identifier(NameStr(a->model.item_col)),
					 format_type_be_qualified(a->model.item_type),
					 serve_seen_table(&a->model), user);
	serve_query(query, 1, &type, &keys, add_seen, a);
	qsort(a->seen, a->n_seen, sizeof(Seen), compare_seen);
	for (int64 i = 0; i < a->n_seen; i++)
		a->users[a->seen[i].user].n_seen++;
	for (int64 at = 0, u = 0; u < a->n; u++)
	{
		User *user_row = &a->users[u];

		user_row->seen = palloc(sizeof(int32) * Max(user_row->n_seen, 1));
		for (int32 i = 0; i < user_row->n_seen; i++)
			user_row->seen[i] = a->seen[at++].row;
	}
}

/* the rows that the cursor has fetched */
static void
take_batch(All *a)
{
	int dim = a->pack->dim;

	a->n = 0;
	a->users = palloc0(sizeof(User) * (Size) SPI_processed);
	a->vectors = palloc_extended(sizeof(float) * (Size) SPI_processed * dim,
								 MCXT_ALLOC_HUGE);
	a->map = serve_map_new(&a->table.key, (uint32) SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null_key, null_vector;
		Datum key = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
								  1, &null_key);
		Datum datum = SPI_getbinval(SPI_tuptable->vals[i],
									SPI_tuptable->tupdesc, 2, &null_vector);
		float *to = a->vectors + (Size) a->n * dim;
		Vector *v;

		if (null_key || null_vector)
			continue;
		v = vector_from_datum(datum);
		serve_table_check_dim(&a->table, v->dim);
		memcpy(to, v->x, sizeof(float) * dim);
		a->users[a->n].key =
			serve_key_copy(&a->table.key, serve_key_read(&a->table.key, key));
		a->users[a->n].norm = sqrtf(vec_dot(to, to, dim));
		serve_map_add(a->map, a->users[a->n].key, a->n, false);
		a->n++;
	}
}

static bool
is_done(const All *a, const User *u, int32 first)
{
	float bound =
		u->norm * a->pack->norms[first] * (1 + (a->pack->dim + 16) * 1.2e-7f);

	return u->top.n == u->top.k && bound < topk_threshold(&u->top);
}

/* users and vectors of a block are swapped as they get done */
static int
drop_done(const All *a, User **users, float *q, int n, int32 first)
{
	int dim = a->pack->dim;

	for (int i = n - 1; i >= 0; i--)
		if (is_done(a, users[i], first))
		{
			n--;
			users[i] = users[n];
			memcpy(q + (Size) i * dim, q + (Size) n * dim, sizeof(float) * dim);
		}
	return n;
}

static void
take_tile(User *u, float *scores, int32 first, int n)
{
	while (u->next_seen < u->n_seen && u->seen[u->next_seen] < first + n)
		scores[u->seen[u->next_seen++] - first] = NAN;
	topk_push_many(&u->top, scores, n, first);
}

static void
find_block(const All *a, User *users, const float *vectors, int n)
{
	const ServePack *pack = a->pack;
	int dim = pack->dim;
	int k = (int) Min(a->k, (int64) pack->n);
	User *active[BLOCK];
	float *q = palloc(sizeof(float) * (Size) BLOCK * dim);
	float *scores = palloc(sizeof(float) * BLOCK * TILE);

	for (int i = 0; i < n; i++)
	{
		active[i] = &users[i];
		topk_init(
			&users[i].top,
			palloc_extended(sizeof(TopKItem) * Max(k, 1), MCXT_ALLOC_HUGE), k);
	}
	memcpy(q, vectors, sizeof(float) * (Size) n * dim);
	for (int32 first = 0; first < pack->n && n > 0; first += TILE)
	{
		int tile = Min(TILE, pack->n - first);

		CHECK_FOR_INTERRUPTS();
		vec_gemm_nt(q, n, dim, pack->rows + (Size) first * dim, tile, dim, dim,
					scores, TILE);
		for (int i = 0; i < n; i++)
			take_tile(active[i], scores + (Size) i * TILE, first, tile);
		if (first + TILE < pack->n)
			n = drop_done(a, active, q, n, first + TILE);
	}
	pfree(q);
	pfree(scores);
}

static void
put_user(All *a, User *u, const float *vector)
{
	const ServePack *pack = a->pack;
	ServeHit *hits = serve_scan_finish(pack, vector, false, &u->top);
	Datum values[6];
	bool nulls[6] = {false};

	serve_key_columns(&a->table.key, u->key, &values[0], &nulls[0]);
	for (int i = 0; i < u->top.n; i++)
	{
		values[2] = Int32GetDatum(i + 1);
		serve_key_columns(&pack->key, pack->keys[hits[i].row], &values[3],
						  &nulls[3]);
		values[5] = Float8GetDatum(hits[i].score);
		tuplestore_putvalues(a->rows.store, a->rows.desc, values, nulls);
	}
	pfree(hits);
}

static void
run_batch(All *a)
{
	MemoryContext old = MemoryContextSwitchTo(a->batch_context);
	int dim = a->pack->dim;

	take_batch(a);
	if (a->exclude_seen && a->n > 0)
		read_seen(a);
	for (int i = 0; i < a->n; i += BLOCK)
	{
		int n = Min(BLOCK, a->n - i);

		find_block(a, a->users + i, a->vectors + (Size) i * dim, n);
		for (int j = i; j < i + n; j++)
		{
			put_user(a, &a->users[j], a->vectors + (Size) j * dim);
			pfree(a->users[j].top.items);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(a->batch_context);
}

/* users a batch: fewer when they have very many ratings each */
static int
batch_size(const All *a)
{
	double each = (double) a->model.interactions / Max(a->model.users, 1);

	return (int) Min(BATCH, Max(BLOCK, MAX_SEEN / Max(each, 1)));
}

static void
run_all(All *a)
{
	ServeTable *t = &a->table;
	char *key = serve_sql_column(t, t->key_att);
	char *query = psprintf("SELECT %s, %s FROM %s ORDER BY %s", key,
						   serve_sql_column(t, t->vector_att),
						   serve_table_name(RelationGetRelid(t->rel)), key);
	Portal portal;
	MemoryContext call = CurrentMemoryContext;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true,
									   CURSOR_OPT_NO_SCROLL);
	for (;;)
	{
		SPITupleTable *rows;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, batch_size(a));
		rows = SPI_tuptable;
		if (SPI_processed == 0)
			break;
		MemoryContextSwitchTo(call);
		run_batch(a);
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

/* recommend_all(k, model, exclude_seen) */
PG_FUNCTION_INFO_V1(recsys_recommend_all);
Datum
recsys_recommend_all(PG_FUNCTION_ARGS)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys recommend_all", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	ServeTable items;
	All a = {0};

	serve_rows_begin(&a.rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	a.k = serve_arg_k(fcinfo, 0);
	serve_arg_model(fcinfo, 1, &a.model);
	a.exclude_seen = serve_arg_bool(fcinfo, 2, "exclude_seen");
	serve_check_retrieval(&a.model);
	a.batch_context = AllocSetContextCreate(call, "recsys users of a batch",
											ALLOCSET_DEFAULT_SIZES);
	if (a.k > 0)
	{
		/* not from the cache: a pack there is not held across queries */
		serve_table_open(&items, &a.model, true, SERVE_EMBEDDING);
		a.pack = serve_pack_load(&items, MaxAllocHugeSize, false);
		serve_table_close(&items);
		serve_table_open(&a.table, &a.model, false, SERVE_EMBEDDING);
		run_all(&a);
		serve_table_close(&a.table);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	return (Datum) 0;
}

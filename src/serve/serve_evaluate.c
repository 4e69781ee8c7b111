/*
 * serve_evaluate.c
 *		recsys_evaluate: how good a model is on a test table.
 *
 * The test table and the ratings table are read into memory as numbered
 * pairs (serve_pairs.c); what the metrics mean is in model/metrics.h and
 * model/rank_common.h, where training computes the same. Some rules:
 *
 *	- Candidates are all items of the model. With exclude_seen those that
 *	  the user has in the ratings table are not, unless they are test items
 *	  of that user.
 *	- A test item that the model does not know is a miss, not left out.
 *	- A user whom the model does not know is judged by what recommend would
 *	  give: by his features where the model knows those, else popular items.
 *	- Rows of the test table whose rating the training would not take as
 *	  interest (its positive, or NULL) are no test items.
 *	- A pair that the test table has twice counts once; for rmse and mae
 *	  every row counts.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "math/blas.h"
#include "math/dense.h"
#include "math/vec.h"
#include "pg/pg_hooks.h"
#include "serve/serve_evaluate.h"

/* the table of BlasOps has plain C here; A B^T is what metrics.c asks for */
static void
multiply(bool trans_a, bool trans_b, int m, int n, int k, float alpha,
		 const float *a, int lda, const float *b, int ldb, float beta, float *c,
		 int ldc)
{
	if (trans_a || !trans_b || alpha != 1 || beta != 0)
		elog(ERROR, "unexpected matrix product");
	/* popularity: every row is the same but for a factor */
	if (k == 1)
	{
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
				c[(Size) i * ldc + j] = a[(Size) i * lda] * b[(Size) j * ldb];
		return;
	}
	vec_gemm_nt(a, m, lda, b, n, ldb, k, c, ldc);
}

static void
put(ServeRows *rows, const char *metric, int k, double value, double baseline)
{
	Datum values[4];
	bool nulls[4] = {false};

	values[0] = CStringGetTextDatum(metric);
	nulls[1] = k == 0;
	values[1] = Int32GetDatum(k);
	values[2] = Float8GetDatum(value);
	nulls[3] = isnan(baseline);
	values[3] = Float8GetDatum(baseline);
	tuplestore_putvalues(rows->store, rows->desc, values, nulls);
}

/* the distinct items of one user in a sorted list of pairs */
static int64
add_items(const ServePairs *pairs, int64 from, int64 to, int32 known,
		  const ServePairs *except, int64 except_from, int64 except_to,
		  int32 *items, int32 *unknown)
{
	int64 n = 0;

	*unknown = 0;
	for (int64 i = from; i < to; i++)
	{
		int32 item = pairs->rows[i].item;

		if (i > from && item == pairs->rows[i - 1].item)
			continue;
		while (except_from < except_to && except->rows[except_from].item < item)
			except_from++;
		if (except_from < except_to && except->rows[except_from].item == item)
			continue;
		if (item < known)
			items[n++] = item;
		else
			(*unknown)++;
	}
	return n;
}

const float *
serve_vector_by_features(const StoreModel *model, bool item, Datum key,
						 bool ranking)
{
	MemoryContext one = AllocSetContextCreate(
		CurrentMemoryContext, "recsys features", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(one);
	int dim = !ranking ? model->dim
			  : item   ? model->item_ranking_dim
					   : model->user_ranking_dim;
	float *found = NULL;
	Vector *v;

	CHECK_FOR_INTERRUPTS();
	v = serve_features_vector(model, item, key, ranking);
	MemoryContextSwitchTo(old);
	if (v != NULL && v->dim == dim)
		found = memcpy(palloc(sizeof(float) * (Size) dim), v->x,
					   sizeof(float) * (Size) dim);
	MemoryContextDelete(one);
	return found;
}

/* users whom the model does not know: vectors of their features, or NULL */
static const float **
feature_vectors(const Evaluation *e)
{
	int32 n = e->users.n - e->users.known;
	const float **found = serve_alloc((Size) n + 1, sizeof(float *));

	for (int32 i = 0; i < n; i++)
	{
		int32 who = e->users.known + i;

		if (e->liked_ptr[who] < e->liked_ptr[who + 1])
			found[i] = serve_vector_by_features(&e->model, false,
												e->users.keys[who], false);
	}
	return found;
}

/* which users of the test table */
typedef enum Kind
{
	USERS_KNOWN,
	USERS_BY_FEATURES, /* not known, but their features are */
	USERS_UNKNOWN
} Kind;

/*
 * Users of one kind, their ratings as the training part and their test items
 * as held out.
 */
static void
make_part(const Evaluation *e, Kind kind, const float **features, Part *part)
{
	Dataset *ds = &part->ds;
	bool known = kind == USERS_KNOWN;
	int32 from = known ? 0 : e->users.known;
	int32 to = known ? e->users.known : e->users.n;
	int64 n = 0;
	int32 unknown;

	memset(part, 0, sizeof(*part));
	ds->n_items = e->items.known;
	part->who = serve_alloc((Size) (to - from) + 1, sizeof(int32));
	part->missing = serve_alloc((Size) (to - from) + 1, sizeof(int32));
	ds->user_ptr = serve_alloc((Size) (to - from) + 1, sizeof(int64));
	ds->user_end = serve_alloc((Size) (to - from) + 1, sizeof(int64));
	ds->item = serve_alloc((Size) (e->train.n + e->liked.n) + 1, sizeof(int32));
	for (int32 u = from; u < to; u++)
	{
		if (e->liked_ptr[u] == e->liked_ptr[u + 1] ||
			(!known &&
			 (features[u - from] != NULL) != (kind == USERS_BY_FEATURES)))
			continue;
		part->who[ds->n_users] = u;
		ds->user_ptr[ds->n_users] = n;
		if (e->exclude_seen)
			n += add_items(&e->train, e->train_ptr[u], e->train_ptr[u + 1],
						   e->items.known, &e->liked, e->liked_ptr[u],
						   e->liked_ptr[u + 1], ds->item + n, &unknown);
		ds->user_end[ds->n_users] = n;
		n += add_items(&e->liked, e->liked_ptr[u], e->liked_ptr[u + 1],
					   e->items.known, NULL, 0, 0, ds->item + n,
					   &part->missing[ds->n_users]);
		ds->n_users++;
	}
	ds->user_ptr[ds->n_users] = n;
	ds->n = n;
}

static void
run_metrics(const Evaluation *e, const Part *part, const float *user,
			const float *item, int dim, MetricsResult *result)
{
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	MetricsSpec spec = {
		.exclude_seen = true, .n_k = e->n_k, .missing = part->missing};
	Size size = metrics_size(part->ds.n_users, part->ds.n_items);
	Arena arena;
	RsStatus status;

	memset(result, 0, sizeof(*result));
	if (part->ds.n_users == 0)
		return;
	memcpy(spec.k, e->k, sizeof(spec.k));
	arena_init(&arena, (char *) TYPEALIGN(64, serve_alloc(size + 64, 1)), size);
	status =
		metrics_run(&team, &arena, &part->ds, &spec, user, item, dim, result);
	if (status != RS_OK)
		pg_throw_status(status, "could not evaluate the model", NULL);
}

static void
run_model(const Evaluation *e, const Part *part, const float **features,
		  MetricsResult *result)
{
	int dim = e->model.dim;
	float *user = serve_alloc((Size) part->ds.n_users * dim + 1, sizeof(float));

	for (int32 u = 0; u < part->ds.n_users; u++)
	{
		int32 who = part->who[u];

		memcpy(user + (Size) u * dim,
			   who < e->users.known ? e->user_pack->rows + (Size) who * dim
									: features[who - e->users.known],
			   sizeof(float) * dim);
	}
	run_metrics(e, part, user, e->item_pack->rows, dim, result);
}

/* by how many users an item has in the ratings table, or had in training */
static void
run_popular(const Evaluation *e, const Part *part, MetricsResult *result)
{
	float *user = serve_alloc((Size) part->ds.n_users + 1, sizeof(float));
	float *item = serve_alloc((Size) e->items.known + 1, sizeof(float));

	for (int32 u = 0; u < part->ds.n_users; u++)
		user[u] = 1;
	for (int32 i = 0; i < e->items.known; i++)
		item[i] = e->has_ratings ? 0 : e->item_pack->interactions[i];
	for (int64 i = 0; i < e->train.n; i++)
	{
		const ServePair *p = &e->train.rows[i];

		if (p->item < e->items.known && serve_is_interest(e, &e->train, i) &&
			(i == 0 || p[-1].user != p->user || p[-1].item != p->item))
			item[p->item] += 1;
	}
	run_metrics(e, part, user, item, 1, result);
}

/* the sums of two disjoint sets of users, as one */
static void
join_results(MetricsResult *a, const MetricsResult *b, int n_k)
{
	double rows = Max((double) (a->rows + b->rows), 1);
	double users = Max((double) (a->users + b->users), 1);

#define JOIN(x, n) a->x = (a->x * (double) a->n + b->x * (double) b->n) / n
	for (int k = 0; k < n_k; k++)
	{
		JOIN(accuracy[k], rows);
		JOIN(recall[k], users);
		JOIN(precision[k], users);
		JOIN(ndcg[k], users);
	}
	JOIN(mrr, users);
#undef JOIN
	a->rows += b->rows;
	a->users += b->users;
}

static void
put_ranking_metrics(const Evaluation *e, ServeRows *rows)
{
	const float **features = feature_vectors(e);
	MetricsResult model = {0};
	MetricsResult popular = {0};

	for (int kind = USERS_KNOWN; kind <= USERS_UNKNOWN; kind++)
	{
		Part part;
		MetricsResult by_model;
		MetricsResult by_count;

		make_part(e, (Kind) kind, features, &part);
		run_popular(e, &part, &by_count);
		by_model = by_count;
		if (kind != USERS_UNKNOWN)
			run_model(e, &part, features, &by_model);
		join_results(&model, &by_model, e->n_k);
		join_results(&popular, &by_count, e->n_k);
	}
	if (model.users == 0)
		return;
	for (int k = 0; k < e->n_k; k++)
		put(rows, "accuracy", e->k[k], model.accuracy[k], popular.accuracy[k]);
	for (int k = 0; k < e->n_k; k++)
		put(rows, "recall", e->k[k], model.recall[k], popular.recall[k]);
	for (int k = 0; k < e->n_k; k++)
		put(rows, "precision", e->k[k], model.precision[k],
			popular.precision[k]);
	for (int k = 0; k < e->n_k; k++)
		put(rows, "ndcg", e->k[k], model.ndcg[k], popular.ndcg[k]);
	put(rows, "mrr", 0, model.mrr, popular.mrr);
}

static void
load_tables(Evaluation *e)
{
	ServeKeyType type;
	ServeTable table;

	if (e->model.dim > 0)
	{
		serve_table_open(&table, &e->model, false, SERVE_EMBEDDING);
		e->user_pack = serve_pack_load(&table, MaxAllocHugeSize, true);
		serve_table_close(&table);
		serve_table_open(&table, &e->model, true,
						 SERVE_EMBEDDING | SERVE_INTERACTIONS);
		e->item_pack = serve_pack_load(&table, MaxAllocHugeSize, true);
		serve_table_close(&table);
	}
	serve_key_init(&type, e->model.user_type);
	serve_names_init(&e->users, &type, e->user_pack);
	serve_key_init(&type, e->model.item_type);
	serve_names_init(&e->items, &type, e->item_pack);
}

static const char *
config_text(const Jsonb *config, const char *key)
{
	JsonbValue *v = getKeyJsonValueFromContainer(
		(JsonbContainer *) &config->root, key, (int) strlen(key), NULL);

	if (v == NULL || v->type != jbvString)
		return NULL;
	return pnstrdup(v->val.string.val, v->val.string.len);
}

/* what the training took as interest, and whether it learnt clicks */
static void
read_config(Evaluation *e)
{
	Jsonb *config = store_config(&e->model);
	const char *loss;
	const char *positive;

	if (config == NULL)
		return;
	loss = config_text(config, "ranking_loss");
	positive = config_text(config, "positive");
	e->binary = loss != NULL && strcmp(loss, "binary") == 0;
	if (positive != NULL && !job_positive_read(positive, &e->config))
		e->config.positive_kind = POSITIVE_ALL;
}

/* e->liked without the rows that are of no interest; they are by user */
static void
keep_interest(Evaluation *e)
{
	int64 n = 0;

	e->liked.rows = serve_alloc((Size) e->held.n + 1, sizeof(ServePair));
	for (int32 u = 0; u < e->users.n; u++)
	{
		int64 from = e->liked_ptr[u];

		CHECK_FOR_INTERRUPTS();
		e->liked_ptr[u] = n;
		for (int64 i = from; i < e->liked_ptr[u + 1]; i++)
			if (serve_is_interest(e, &e->held, i))
				e->liked.rows[n++] = e->held.rows[i];
	}
	e->liked_ptr[e->users.n] = e->liked.n = n;
}

static void
read_pairs(Evaluation *e, Oid test)
{
	e->has_ratings = get_rel_name(e->model.ratings) != NULL;
	if (!e->has_ratings && e->exclude_seen)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the ratings table of model \"%s\" does not exist any "
						"more",
						NameStr(e->model.name)),
				 errhint("Use exclude_seen => false.")));
	if (e->has_ratings)
		serve_pairs_read(&e->train, &e->model, e->model.ratings, false,
						 &e->users, &e->items);
	serve_pairs_read(&e->held, &e->model, test, true, &e->users, &e->items);
	if (e->has_ratings)
		e->train_ptr = serve_pairs_by_user(&e->train, e->users.n);
	else
		e->train_ptr = serve_alloc((Size) e->users.n + 2, sizeof(int64));
	e->liked_ptr = serve_pairs_by_user(&e->held, e->users.n);
	e->liked = e->held;
	if (e->held.rated)
		keep_interest(e);
}

static void
evaluate(Evaluation *e, Oid test, ServeRows *rows)
{
	RatingErrors errors;
	void (*saved)(bool, bool, int, int, int, float, const float *, int,
				  const float *, int, float, float *, int) = blas.sgemm;

	e->test = test;
	read_config(e);
	load_tables(e);
	read_pairs(e, test);
	if (e->model.dim > 0)
	{
		dense_init(-1);
		PG_TRY();
		{
			blas.sgemm = multiply;
			put_ranking_metrics(e, rows);
		}
		PG_FINALLY();
		{
			blas.sgemm = saved;
		}
		PG_END_TRY();
	}
	if (e->model.ranking != RANKING_NONE && e->held.rated &&
		serve_rating_errors(e, &errors))
		for (int k = 0; k < 2; k++)
			put(rows, errors.name[k], 0, errors.model[k], errors.baseline[k]);
}

typedef struct Stored
{
	const Evaluation *e;
	ServeRows *rows;
	bool found[METRICS_MAX_K]; /* something is stored for e->k[i] */
} Stored;

/* rows without k, and those for a k that was asked for */
static bool
put_stored(TupleTableSlot *slot, void *arg)
{
	Stored *s = arg;
	bool wanted;

	slot_getallattrs(slot);
	wanted = slot->tts_isnull[1];
	for (int i = 0; i < s->e->n_k && !slot->tts_isnull[1]; i++)
		if (s->e->k[i] == DatumGetInt32(slot->tts_values[1]))
			wanted = s->found[i] = true;
	if (wanted)
		tuplestore_putvalues(s->rows->store, s->rows->desc, slot->tts_values,
							 slot->tts_isnull);
	return true;
}

/* the default of ks asks for whatever there is of it */
static bool
is_default_ks(const Evaluation *e)
{
	static const int ks[] = {1, 5, 10, 20, 50, 100};

	return e->n_k == (int) lengthof(ks) && memcmp(e->k, ks, sizeof(ks)) == 0;
}

/* what training found on the interactions that it held out */
static void
put_stored_metrics(const Evaluation *e, ServeRows *rows)
{
	const StoreModel *model = &e->model;
	Stored stored = {.e = e, .rows = rows};
	Oid types[1] = {OIDOID};
	Datum values[1];
	char *query = psprintf(
		"SELECT pg_catalog.split_part(m.key, '@', 1), "
		"nullif(pg_catalog.split_part(m.key, '@', 2), '')::pg_catalog.int4, "
		"m.value::pg_catalog.float8, (r.baseline OPERATOR(pg_catalog.->>) "
		"m.key)::pg_catalog.float8 FROM %s r, "
		"pg_catalog.jsonb_each_text(r.metrics) m "
		"WHERE r.item_table OPERATOR(pg_catalog.=) $1 ORDER BY 1, 2",
		serve_table_name(store_table_oid(STORE_MODEL)));

	if (!e->exclude_seen)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("exclude_seen => false needs a test table"),
				 errhint("Stored metrics are as training measured them. Give "
						 "a table as test.")));
	values[0] = ObjectIdGetDatum(model->item_table);
	serve_query(query, 1, types, values, put_stored, &stored);
	for (int i = 0; i < e->n_k && model->dim > 0 && !is_default_ks(e); i++)
		if (!stored.found[i])
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("model \"%s\" has no stored metrics for k = %d",
							NameStr(model->name), e->k[i]),
					 errhint("Give a table as test to measure with any k.")));
}

static void
parse_ks(FunctionCallInfo fcinfo, int arg, Evaluation *e)
{
	Datum *values;
	bool *nulls;
	int n;

	serve_refuse_null(fcinfo, arg, "ks");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), INT4OID, sizeof(int32), true,
					  TYPALIGN_INT, &values, &nulls, &n);
	if (n > METRICS_MAX_K)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("ks has %d elements, at most %d are allowed", n,
							   METRICS_MAX_K)));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("ks must not contain nulls")));
		if (DatumGetInt32(values[i]) < 1)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("ks must be positive, but has %d",
								   DatumGetInt32(values[i]))));
		e->k[i] = DatumGetInt32(values[i]);
	}
	e->n_k = n;
}

/* recsys_evaluate(model, test, ks, exclude_seen) */
PG_FUNCTION_INFO_V1(recsys_evaluate);
Datum
recsys_evaluate(PG_FUNCTION_ARGS)
{
	MemoryContext call = AllocSetContextCreate(
		CurrentMemoryContext, "recsys evaluate", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	ServeRows rows;
	Evaluation *e;

	serve_rows_begin(&rows, fcinfo);
	old = MemoryContextSwitchTo(call);
	e = palloc0(sizeof(Evaluation));
	serve_arg_model(fcinfo, 0, &e->model);
	parse_ks(fcinfo, 2, e);
	e->exclude_seen = serve_arg_bool(fcinfo, 3, "exclude_seen");
	if (PG_ARGISNULL(1))
		put_stored_metrics(e, &rows);
	else
		evaluate(e, PG_GETARG_OID(1), &rows);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call);
	return (Datum) 0;
}

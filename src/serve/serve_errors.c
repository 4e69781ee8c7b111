/*
 * serve_errors.c
 *		rmse and mae of the ranking stage on a test table, or auc and log loss
 *		where it was trained on clicks.
 *
 * Predictions are those of predict: by features where somebody is unknown, in
 * the context that the test table's columns tell.
 *
 * The baseline is the damped mean of item and user (rank_common.c), fitted
 * to the ratings table as it is now.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "model/rank_common.h"
#include "pg/pg_hooks.h"
#include "serve/serve_evaluate.h"

typedef struct Errors
{
	double first;  /* sums: squares; of clicks log losses */
	double second; /* absolute errors */
	int64 n;
	int64_t *bins; /* of clicks, see rank_common.h */
} Errors;

static double
label_of(const Evaluation *e, float rating)
{
	return e->binary ? job_label(&e->config, rating) : rating;
}

static void
begin_errors(const Evaluation *e, Errors *errors)
{
	memset(errors, 0, sizeof(*errors));
	if (e->binary)
		errors->bins = serve_alloc(2 * RANK_BINS, sizeof(int64_t));
}

static void
add_error(Errors *e, double predicted, double actual)
{
	double error = predicted - actual;

	e->first += e->bins != NULL
					? rank_count_binary(e->bins, predicted, actual > 0)
					: error * error;
	e->second += fabs(error);
	e->n++;
}

/* rmse and mae, or auc and log loss */
static void
measure(const Errors *e, double *to)
{
	double n = (double) e->n;

	to[0] =
		e->bins != NULL ? rank_area_under_curve(e->bins) : sqrt(e->first / n);
	to[1] = e->bins != NULL ? e->first / n : e->second / n;
}

/* the ranking vectors of the users or the items of both tables */
typedef struct Side
{
	ServePack *pack;
	const float *mean;    /* for anybody unknown */
	const float **vector; /* by number in Evaluation.users or .items */
} Side;

static void
load_side(const Evaluation *e, bool item, Side *side)
{
	ServeTable table;

	serve_table_open(&table, &e->model, item, SERVE_RANKING);
	side->pack = serve_pack_load(&table, MaxAllocHugeSize, true);
	serve_table_close(&table);
}

static void
find_mean(Side *side, const float *param)
{
	int dim = side->pack->dim;
	float *mean;
	double *sum;

	side->mean = param;
	if (param != NULL)
		return;
	mean = serve_alloc(dim, sizeof(float));
	sum = serve_alloc(dim, sizeof(double));
	for (int32 i = 0; i < side->pack->n; i++)
		for (int j = 0; j < dim; j++)
			sum[j] += side->pack->rows[(Size) i * dim + j];
	for (int j = 0; j < dim; j++)
		mean[j] = (float) (sum[j] / Max(side->pack->n, 1));
	side->mean = mean;
}

/* as predict takes them: stored, else of the features, else the mean */
static void
find_vectors(const Evaluation *e, bool item, Side *side)
{
	const ServeNames *names = item ? &e->items : &e->users;
	int dim = side->pack->dim;

	side->vector = serve_alloc((Size) names->n + 1, sizeof(float *));
	for (int64 i = 0; i < e->held.n; i++)
	{
		const ServePair *pair = &e->held.rows[i];
		int32 number = item ? pair->item : pair->user;
		int32 row;

		CHECK_FOR_INTERRUPTS();
		if (side->vector[number] != NULL)
			continue;
		row = serve_pack_find(side->pack, names->keys[number]);
		if (row >= 0)
			side->vector[number] = side->pack->rows + (Size) row * dim;
		else
			side->vector[number] = serve_vector_by_features(
				&e->model, item, names->keys[number], true);
		if (side->vector[number] == NULL)
			side->vector[number] = side->mean;
	}
}

typedef struct Model
{
	const Evaluation *e;
	Side users;
	Side items;
	Predictor predictor;
	float *scratch;
	Errors *errors;

	/* of what the context adds */
	ServeFeatures context;
	float *sum; /* (context.width) */
	float *user;
	float *item;
	MemoryContext row; /* memory of one row */
} Model;

static void
load_model(Model *m)
{
	const Evaluation *e = m->e;
	ServeTable table;
	ServeParams *params;
	const char *problem = NULL;

	load_side(e, false, &m->users);
	load_side(e, true, &m->items);
	/* not those of the cache, which do not outlive another query */
	serve_table_open_params(&table, &e->model);
	params = serve_params_load(&table, MaxAllocHugeSize);
	serve_table_close(&table);
	if (predict_init(&m->predictor, e->model.ranking, m->users.pack->dim,
					 m->items.pack->dim, params->params, params->n,
					 &problem) != RS_OK)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("ranking stage of model \"%s\" is damaged",
							   NameStr(e->model.name)),
						problem != NULL ? errdetail("%s.", problem) : 0));
	m->scratch = serve_alloc(predict_scratch(&m->predictor) + 1, sizeof(float));
	find_mean(&m->users, m->predictor.user_mean);
	find_mean(&m->items, m->predictor.item_mean);
	find_vectors(e, false, &m->users);
	find_vectors(e, true, &m->items);
}

static void
add_row(Model *m, const float *user, const float *item, float rating)
{
	add_error(m->errors, predict_one(&m->predictor, user, item, m->scratch),
			  label_of(m->e, rating));
}

static const float *
add_context(const float *x, const float *add, int dim, float *to)
{
	for (int k = 0; k < dim; k++)
		to[k] = x[k] + (isfinite(add[k]) ? add[k] : 0);
	return to;
}

static bool
take_any(void *arg, const char *name, int size)
{
	return true;
}

/* a row of the test table with its context as an object */
static bool
add_row_in_context(TupleTableSlot *slot, void *arg)
{
	Model *m = arg;
	const Evaluation *e = m->e;
	MemoryContext old;
	bool null[4];
	Datum value[4];
	int user_dim = m->users.pack->dim;
	int32 user;
	int32 item;
	float rating;

	for (int k = 0; k < 4; k++)
		value[k] = slot_getattr(slot, k + 1, &null[k]);
	if (null[0] || null[1] || null[2])
		return true;
	rating = (float) DatumGetFloat8(value[2]);
	if (!isfinite(rating))
		return true;
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(m->row);
	user = serve_map_find(e->users.map,
						  serve_key_read(&e->users.map->type, value[0]));
	item = serve_map_find(e->items.map,
						  serve_key_read(&e->items.map->type, value[1]));
	serve_encode(&m->context, DatumGetJsonbP(value[3]), take_any, NULL, m->sum);
	/* a row that came since the table was read has no number */
	if (user >= 0 && item >= 0 && m->users.vector[user] != NULL &&
		m->items.vector[item] != NULL)
		add_row(m,
				add_context(m->users.vector[user], m->sum + m->context.dim,
							user_dim, m->user),
				add_context(m->items.vector[item],
							m->sum + m->context.dim + user_dim,
							m->items.pack->dim, m->item),
				rating);
	MemoryContextSwitchTo(old);
	MemoryContextReset(m->row);
	return true;
}

/* false when the model knows none */
static bool
errors_in_context(Model *m)
{
	const Evaluation *e = m->e;
	int user_dim = m->users.pack->dim;
	int item_dim = m->items.pack->dim;
	bool rated;
	char *query;

	if (!serve_features_open(&m->context, &e->model, "context"))
		return false;
	if (!m->context.ranking)
	{
		serve_features_close(&m->context);
		return false;
	}
	if (m->context.width != m->context.dim + user_dim + item_dim)
		serve_features_refuse(&m->context, STORE_FEATURE_PREFIX "context");
	m->sum = serve_alloc((Size) m->context.width, sizeof(float));
	m->user = serve_alloc(user_dim, sizeof(float));
	m->item = serve_alloc(item_dim, sizeof(float));
	m->row = AllocSetContextCreate(CurrentMemoryContext, "recsys evaluated row",
								   ALLOCSET_DEFAULT_SIZES);
	query =
		serve_pairs_query(&e->model, e->test, true,
						  serve_features_object(&m->context, e->test), &rated);
	/* as for the first reading, which keeps the table's lock */
	if (rated)
		serve_query(query, 0, NULL, NULL, add_row_in_context, m);
	serve_features_close(&m->context);
	return true;
}

static void
model_errors(const Evaluation *e, Errors *errors)
{
	Model m = {.e = e, .errors = errors};

	load_model(&m);
	if (errors_in_context(&m))
		return;
	for (int64 i = 0; i < e->held.n; i++)
	{
		const ServePair *row = &e->held.rows[i];

		CHECK_FOR_INTERRUPTS();
		if (isfinite(row->rating))
			add_row(&m, m.users.vector[row->user], m.items.vector[row->item],
					row->rating);
	}
}

/* finite ratings as a Dataset; false when there is none */
static bool
make_dataset(const Evaluation *e, Dataset *ds)
{
	memset(ds, 0, sizeof(*ds));
	ds->n_users = e->users.n;
	ds->n_items = e->items.n;
	ds->user_ptr = serve_alloc((Size) e->users.n + 1, sizeof(int64));
	ds->item = serve_alloc((Size) e->train.n + 1, sizeof(int32));
	ds->rating = serve_alloc((Size) e->train.n + 1, sizeof(float));
	for (int32 u = 0; u < e->users.n; u++)
	{
		for (int64 i = e->train_ptr[u]; i < e->train_ptr[u + 1]; i++)
			if (isfinite(e->train.rows[i].rating))
			{
				ds->item[ds->n] = e->train.rows[i].item;
				ds->rating[ds->n++] =
					(float) label_of(e, e->train.rows[i].rating);
			}
		ds->user_ptr[u + 1] = ds->n;
	}
	ds->user_end = ds->user_ptr + 1;
	return ds->n > 0;
}

static bool
baseline_errors(const Evaluation *e, Errors *errors)
{
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	Dataset ds;
	RankRun run = {.team = &team, .ds = &ds, .all = true};
	RankBias bias = {.clicks = e->binary};
	RsStatus status;

	if (!make_dataset(e, &ds))
		return false;
	bias.user = serve_alloc((Size) ds.n_users + 1, sizeof(float));
	bias.item = serve_alloc((Size) ds.n_items + 1, sizeof(float));
	status = rank_bias_fit(&run, &bias);
	if (status != RS_OK)
		pg_throw_status(status, "could not compute the baseline", NULL);
	for (int64 i = 0; i < e->held.n; i++)
	{
		const ServePair *row = &e->held.rows[i];

		CHECK_FOR_INTERRUPTS();
		if (isfinite(row->rating))
			add_error(errors, rank_bias_predict(&bias, row->user, row->item, 0),
					  label_of(e, row->rating));
	}
	return true;
}

bool
serve_rating_errors(const Evaluation *e, RatingErrors *errors)
{
	Errors model;
	Errors baseline;

	begin_errors(e, &model);
	model_errors(e, &model);
	if (model.n == 0)
		return false;
	errors->name[0] = e->binary ? "auc" : "rmse";
	errors->name[1] = e->binary ? "log_loss" : "mae";
	measure(&model, errors->model);
	errors->baseline[0] = errors->baseline[1] = NAN;
	begin_errors(e, &baseline);
	if (e->has_ratings && e->train.rated && baseline_errors(e, &baseline))
		measure(&baseline, errors->baseline);
	return true;
}

/*
 * serve_errors.c
 *		rmse and mae of the ranking stage on a test table, or auc and log loss
 *		where it was trained on clicks.
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

/* ranking vectors of one side, and the one to take for anybody unknown */
typedef struct Side
{
	ServePack *pack;
	const float *mean;
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

static const float *
vector_of(const Side *side, Datum key)
{
	int32 row = serve_pack_find(side->pack, key);

	return row < 0 ? side->mean
				   : side->pack->rows + (Size) row * side->pack->dim;
}

static void
model_errors(const Evaluation *e, Errors *errors)
{
	Side users;
	Side items;
	ServeTable table;
	ServeParams *params;
	Predictor p;
	float *scratch;
	const char *problem = NULL;

	load_side(e, false, &users);
	load_side(e, true, &items);
	/* last, since it does not outlive another query */
	serve_table_open_params(&table, &e->model);
	params = serve_cache_params(&table);
	serve_table_close(&table);
	if (predict_init(&p, e->model.ranking, users.pack->dim, items.pack->dim,
					 params->params, params->n, &problem) != RS_OK)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("ranking stage of model \"%s\" is damaged",
							   NameStr(e->model.name)),
						problem != NULL ? errdetail("%s.", problem) : 0));
	find_mean(&users, p.user_mean);
	find_mean(&items, p.item_mean);
	scratch = serve_alloc(predict_scratch(&p) + 1, sizeof(float));
	for (int64 i = 0; i < e->held.n; i++)
	{
		const ServePair *row = &e->held.rows[i];

		CHECK_FOR_INTERRUPTS();
		if (isfinite(row->rating))
			add_error(errors,
					  predict_one(
						  &p, vector_of(&users, e->users.keys[row->user]),
						  vector_of(&items, e->items.keys[row->item]), scratch),
					  label_of(e, row->rating));
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
	RankBias bias = {0};
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

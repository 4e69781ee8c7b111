/*
 * rank_common.c
 *		What the learners of the ranking stage share: the damped bias
 *		baseline, errors on held-out rows, and filling the output.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "model/rank_common.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "math/hooks.h"
#include "math/vec.h"

#define DAMP_ITEM 25.0
#define DAMP_USER 10.0

double
rank_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

RsStatus
rank_late(RankRun *run, bool *late)
{
	RsStatus st;

	*late = false;
	if (!isfinite(run->limit))
		return RS_OK;
	if (run->team->rank == 0)
		run->chunk[0] = rank_clock() > run->limit;
	if ((st = team_barrier(run->team)) != RS_OK)
		return st;
	*late = run->chunk[0] != 0;
	return team_barrier(run->team);
}

size_t
rank_common_size(const JobInput *input)
{
	return arena_need((size_t) input->n_users, sizeof(float)) +
		   arena_need((size_t) input->n_items, sizeof(float)) +
		   arena_need(RANK_CHUNKS * 4, sizeof(double)) +
		   arena_need(2 * RANK_BINS, sizeof(int64_t));
}

RsStatus
rank_common_init(RankRun *run, RankBias *bias)
{
	const Dataset *ds = run->ds;

	memset(bias, 0, sizeof(*bias));
	bias->clicks = run->binary;
	bias->user = arena_alloc(run->arena, (size_t) ds->n_users, sizeof(float));
	bias->item = arena_alloc(run->arena, (size_t) ds->n_items, sizeof(float));
	run->chunk = arena_alloc(run->arena, RANK_CHUNKS * 4, sizeof(double));
	run->bins = arena_alloc(run->arena, 2 * RANK_BINS, sizeof(int64_t));
	return bias->user != NULL && bias->item != NULL && run->chunk != NULL &&
				   run->bins != NULL
			   ? RS_OK
			   : RS_NO_MEMORY;
}

float
rank_target(const RankRun *run, int64_t r)
{
	float y = run->ds->rating[r];

	return run->binary ? job_label(&run->job->config, y) : y;
}

int64_t
rank_n_train(const RankRun *run)
{
	return run->all ? run->ds->n : run->ds->n - run->ds->n_held;
}

double
rank_deviation(const RankRun *run, double mean)
{
	const Dataset *ds = run->ds;
	double n = (double) rank_n_train(run);
	double s = 0;

	for (int32_t u = 0; u < ds->n_users && !rank_stopped(run, u); u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
		{
			double e = rank_target(run, r) - mean;

			s += e * e / n;
		}
	return s > 0 && isfinite(s) ? sqrt(s) : 1;
}

/* mean and range of the training ratings: every member for itself */
static void
rating_range(const RankRun *run, RankBias *bias)
{
	const Dataset *ds = run->ds;
	int64_t n = rank_n_train(run);
	double mean = 0;

	bias->low = INFINITY;
	bias->high = -INFINITY;
	for (int32_t u = 0; u < ds->n_users && !rank_stopped(run, u); u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
		{
			float y = rank_target(run, r);

			/* divided first: huge ratings must not overflow */
			mean += (double) y / (double) n;
			bias->low = y < bias->low ? y : bias->low;
			bias->high = y > bias->high ? y : bias->high;
		}
	bias->mean = mean;
}

static void
bias_fit_items(const RankRun *run, RankBias *bias, double *sum)
{
	const Dataset *ds = run->ds;

	memset(sum, 0, sizeof(double) * 2 * (size_t) ds->n_items);
	for (int32_t u = 0; u < ds->n_users && !rank_stopped(run, u); u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
		{
			sum[2 * ds->item[r]] += rank_target(run, r) - bias->mean;
			sum[2 * ds->item[r] + 1] += 1;
		}
	for (int32_t i = 0; i < ds->n_items; i++)
		bias->item[i] = (float) (sum[2 * i] / (sum[2 * i + 1] + DAMP_ITEM));
}

static void
bias_fit_users(const RankRun *run, RankBias *bias)
{
	const Dataset *ds = run->ds;

	for (int32_t u = 0; u < ds->n_users && !rank_stopped(run, u); u++)
	{
		int64_t end = rank_user_end(run, u);
		double s = 0;

		for (int64_t r = ds->user_ptr[u]; r < end; r++)
			s += rank_target(run, r) - bias->mean - bias->item[ds->item[r]];
		bias->user[u] =
			(float) (s / ((double) (end - ds->user_ptr[u]) + DAMP_USER));
	}
}

RsStatus
rank_bias_fit(RankRun *run, RankBias *bias)
{
	double *sum = NULL;

	rating_range(run, bias);
	if (run->team->rank == 0)
	{
		sum = math_alloc_array((size_t) run->ds->n_items * 2, sizeof(double));
		if (sum == NULL)
			team_stop(run->team, RS_NO_MEMORY);
		else
		{
			bias_fit_items(run, bias, sum);
			bias_fit_users(run, bias);
		}
		math_release(sum);
	}
	return team_barrier(run->team);
}

float
rank_bias_predict(void *arg, int32_t user, int32_t item, int64_t r)
{
	RankBias *bias = arg;
	float y = (float) (bias->mean + bias->user[user] + bias->item[item]);
	float low = bias->low;
	float high = bias->high;

	(void) r;
	if (bias->clicks)
	{
		low = 0.1F * (float) bias->mean;
		high = 1 - 0.1F * (float) (1 - bias->mean);
	}
	y = y < low ? low : y;
	return y > high ? high : y;
}

double
rank_count_binary(int64_t *bins, double p, bool positive)
{
	int bin = (int) (fmin(fmax(p, 0), 1) * (RANK_BINS - 1));
	double q = fmin(fmax(p, 1e-7), 1 - 1e-7);

	__atomic_fetch_add(&bins[positive * RANK_BINS + bin], 1, __ATOMIC_RELAXED);
	return -log(positive ? q : 1 - q);
}

double
rank_area_under_curve(const int64_t *bins)
{
	double below = 0;
	double right = 0;
	double positives = 0;

	for (int b = 0; b < RANK_BINS; b++)
	{
		double negative = (double) bins[b];
		double positive = (double) bins[RANK_BINS + b];

		right += positive * (below + 0.5 * negative);
		below += negative;
		positives += positive;
	}
	return positives * below > 0 ? right / (positives * below) : 0.5;
}

/* sums over the held-out rows of the users of chunk c */
static void
error_chunk(RankRun *run, RankPredict predict, void *arg, int c)
{
	const Dataset *ds = run->ds;
	int32_t from = (int32_t) ((int64_t) ds->n_users * c / RANK_CHUNKS);
	int32_t to = (int32_t) ((int64_t) ds->n_users * (c + 1) / RANK_CHUNKS);
	double *sum = run->chunk + 4 * c;

	memset(sum, 0, sizeof(double) * 4);
	for (int32_t u = from; u < to; u++)
		for (int64_t r = ds->user_end[u]; r < ds->user_ptr[u + 1]; r++)
		{
			double p = predict(arg, u, ds->item[r], r);
			double y = rank_target(run, r);

			sum[0] += (p - y) * (p - y);
			sum[1] += fabs(p - y);
			if (run->binary)
				sum[2] += rank_count_binary(run->bins, p, y > 0);
			sum[3] += 1;
		}
}

RsStatus
rank_error(RankRun *run, RankPredict predict, void *arg, RankError *error)
{
	double sum[4] = {0};
	RsStatus st;

	if (run->team->rank == 0)
		memset(run->bins, 0, sizeof(int64_t) * 2 * RANK_BINS);
	if ((st = team_barrier(run->team)) != RS_OK)
		return st;
	for (int c = run->team->rank; c < RANK_CHUNKS; c += run->team->size)
	{
		error_chunk(run, predict, arg, c);
		if (team_stopped(run->team) != RS_OK)
			break;
	}
	if ((st = team_barrier(run->team)) != RS_OK)
		return st;
	for (int c = 0; c < RANK_CHUNKS; c++)
		for (int k = 0; k < 4; k++)
			sum[k] += run->chunk[4 * c + k];
	error->n = (int64_t) sum[3];
	error->rmse = sum[3] > 0 ? sqrt(sum[0] / sum[3]) : NAN;
	error->mae = sum[3] > 0 ? sum[1] / sum[3] : NAN;
	error->log_loss = sum[3] > 0 ? sum[2] / sum[3] : NAN;
	error->auc = run->binary ? rank_area_under_curve(run->bins) : NAN;
	return team_barrier(run->team);
}

typedef struct OutputPredict
{
	Predictor p;
	const JobOutput *out;
	const float *user;
	const float *item;
	const Context *context;
	const float *map[2]; /* what it adds to a user's, an item's vector */
	float *sum;          /* a user's and an item's vector with context */
	float *scratch;
} OutputPredict;

/* row id of vectors (n, dim), with what the context of row r adds, in sum */
static const float *
with_context(const OutputPredict *o, const float *vectors, int dim, int32_t id,
			 int64_t r, const float *map, float *sum)
{
	const float *x = vectors + (size_t) id * (size_t) dim;

	if (map == NULL)
		return x;
	memcpy(sum, x, sizeof(float) * (size_t) dim);
	for (int64_t e = context_from(o->context, r); e < context_to(o->context, r);
		 e++)
		vec_axpy(o->context->val[e],
				 map + (size_t) o->context->col[e] * (size_t) dim, sum, dim);
	return sum;
}

static float
output_predict(void *arg, int32_t user, int32_t item, int64_t r)
{
	OutputPredict *o = arg;
	int dim = o->out->user_ranking_dim;

	return predict_one(
		&o->p, with_context(o, o->user, dim, user, r, o->map[0], o->sum),
		with_context(o, o->item, o->out->item_ranking_dim, item, r, o->map[1],
					 o->sum + dim),
		o->scratch);
}

RsStatus
rank_output_error(RankRun *run, RankError *error)
{
	PredictParam params[JOB_MAX_PARAMS];
	OutputPredict o = {.out = &run->job->output};
	int n = predict_params_of_job(run->job, params);
	RsStatus st = predict_init(&o.p, o.out->ranking, o.out->user_ranking_dim,
							   o.out->item_ranking_dim, params, n, NULL);

	if (st == RS_OK)
	{
		o.user = job_at(run->job, o.out->user_ranking);
		o.item = job_at(run->job, o.out->item_ranking);
		o.context = run->context;
		o.map[0] = job_at(run->job, o.out->context_user_map);
		o.map[1] = job_at(run->job, o.out->context_item_map);
		o.scratch = math_alloc_array(predict_scratch(&o.p) + 1, sizeof(float));
		o.sum = math_alloc_array((size_t) (o.p.user_dim + o.p.item_dim),
								 sizeof(float));
		if (o.scratch == NULL || o.sum == NULL)
			st = RS_NO_MEMORY;
	}
	if (st != RS_OK)
		team_stop(run->team, st);
	if ((st = team_barrier(run->team)) == RS_OK)
		st = rank_error(run, output_predict, &o, error);
	math_release(o.scratch);
	math_release(o.sum);
	return st;
}

float *
rank_add_param(RankRun *run, const char *name, int ndim, int s0, int s1)
{
	JobOutput *out = &run->job->output;
	size_t n = (size_t) s0 * (size_t) (ndim > 1 ? s1 : 1);
	float *data = arena_alloc(run->arena, n, sizeof(float));
	JobParam *p;

	if (data == NULL || run->team->rank != 0)
		return data;
	if (out->n_params >= JOB_MAX_PARAMS)
		return NULL;
	p = &out->params[out->n_params++];
	memset(p, 0, sizeof(*p));
	strncpy(p->name, name, sizeof(p->name) - 1);
	p->ndim = ndim;
	p->shape[0] = s0;
	p->shape[1] = ndim > 1 ? s1 : 0;
	p->data = job_offset(run->job, data);
	return data;
}

RsStatus
rank_add_means(RankRun *run, const float *users, const float *items,
			   int user_dim, int item_dim)
{
	for (int side = 0; side < 2; side++)
	{
		int32_t n = side == 0 ? run->ds->n_users : run->ds->n_items;
		const float *rows = side == 0 ? users : items;
		int dim = side == 0 ? user_dim : item_dim;
		float *mean = rank_add_param(run, side == 0 ? "user_mean" : "item_mean",
									 1, dim, 0);

		if (mean == NULL)
			return RS_NO_MEMORY;
		for (int f = 0; f < dim && run->team->rank == 0; f++)
		{
			double s = 0;

			/* divided first: huge ratings must not overflow */
			for (int32_t r = 0; r < n; r++)
				s += (double) rows[(size_t) r * (size_t) dim + (size_t) f] / n;
			mean[f] = (float) s;
		}
	}
	return RS_OK;
}

void
rank_add_metric(RankRun *run, const char *name, double value, double baseline)
{
	JobOutput *out = &run->job->output;
	JobMetric *m;

	if (run->team->rank != 0 || out->n_metrics >= JOB_MAX_METRICS)
		return;
	m = &out->metrics[out->n_metrics++];
	memset(m, 0, sizeof(*m));
	strncpy(m->name, name, sizeof(m->name) - 1);
	m->value = value;
	m->baseline = baseline;
}

RsStatus
rank_add_clamp(RankRun *run, const RankBias *bias)
{
	const JobConfig *config = &run->job->config;
	float *clamp = rank_add_param(run, "clamp", 1, 2, 0);

	if (clamp == NULL)
		return RS_NO_MEMORY;
	if (run->team->rank == 0)
	{
		clamp[0] =
			isfinite(config->min_rating) ? config->min_rating : bias->low;
		clamp[1] =
			isfinite(config->max_rating) ? config->max_rating : bias->high;
		if (clamp[1] < clamp[0])
			clamp[1] = clamp[0];
	}
	return RS_OK;
}

void
rank_add_choice(RankRun *run, const char *sentence)
{
	JobOutput *out = &run->job->output;
	size_t used = strlen(out->choice);

	/* the run on all rows says it again */
	if (run->team->rank != 0 || run->quick)
		return;
	snprintf(out->choice + used, sizeof(out->choice) - used, "%s%s",
			 used == 0                      ? ""
			 : out->choice[used - 1] == '.' ? " "
											: ". ",
			 sentence);
}

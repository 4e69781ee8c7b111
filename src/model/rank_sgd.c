/*
 * rank_sgd.c
 *		Biased matrix factorization by stochastic gradient descent.
 *
 *	rating ~ mean + b[u] + b[i] + <p[u], q[i]>, squared error, L2
 *
 * A context is a bias only: that of each column is fitted beforehand
 * (rank_context.h) and taken from the ratings.
 *
 * Users and items are cut into SIDES parts of about equally many ratings, the
 * ratings into SIDES x SIDES cells (Gemulla et al. 2011). Cells of one
 * diagonal share neither users nor items, so the members work on them at the
 * same time without locks; after each diagonal all wait. Cells and their
 * order do not depend on the team: any team gives the same bytes.
 */
#include "model/rank_sgd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/hooks.h"
#include "math/rng.h"
#include "model/normals.h"
#include "model/rank_context.h"

#define SIDES 16
#define CELLS (SIDES * SIDES)
#define MOST_ERROR 10.0f  /* in standard deviations, for one step */
#define CHECK_ROWS 100000 /* a few ms between two looks at the stop flag */

typedef struct SgdRow
{
	int32_t user;
	int32_t item;
	float rating; /* standardised */
} SgdRow;

typedef struct SgdPlan
{
	int dim;
	int width; /* floats of a row: factors rounded up, then the bias */
	int epochs;
	float rate; /* of the first epoch; falls to a tenth, evenly */
	float lambda;
} SgdPlan;

typedef struct SgdTrain
{
	RankRun *run;
	SgdPlan plan;
	double shift;
	double scale;
	SgdRow *rows;      /* (n) by cell, shuffled within */
	int64_t *cell_ptr; /* (CELLS + 1) */
	double *loss;      /* (CELLS) */
	float *vec[2];     /* (n, width) of users and of items */
	float *out[2];     /* (n, dim + 2) */
	RankContext context;
	float *map; /* (columns of the context, dim + 2) */
	int32_t bound[2][SIDES + 1];
} SgdTrain;

static void
plan_make(SgdPlan *p, const JobConfig *config, const JobInput *input)
{
	p->dim = config->dim > 0 ? config->dim : 32;
	p->width = (p->dim + 7) / 8 * 8 + 8;
	p->epochs = config->epochs > 0 ? config->epochs : 25;
	p->rate = isfinite(config->learning_rate) ? config->learning_rate : 0.03f;
	p->lambda = isfinite(config->regularization) ? config->regularization
				: input->n < 1000000             ? 0.08f
												 : 0.05f;
}

static bool
train_layout(SgdTrain *t, Arena *arena, const JobInput *in)
{
	bool ok = true;

	t->rows = arena_alloc(arena, (size_t) in->n, sizeof(SgdRow));
	t->cell_ptr = arena_alloc(arena, CELLS + 1, sizeof(int64_t));
	t->loss = arena_alloc(arena, CELLS, sizeof(double));
	for (int k = 0; k < 2; k++)
	{
		size_t n = (size_t) (k == 0 ? in->n_users : in->n_items);

		t->vec[k] =
			arena_alloc(arena, n * (size_t) t->plan.width, sizeof(float));
		t->out[k] =
			arena_alloc(arena, n * ((size_t) t->plan.dim + 2), sizeof(float));
		ok = ok && t->vec[k] != NULL && t->out[k] != NULL;
	}
	if (in->context.n_cols > 0)
	{
		t->map = arena_alloc(
			arena, (size_t) in->context.n_cols * ((size_t) t->plan.dim + 2),
			sizeof(float));
		ok =
			ok && t->map != NULL && rank_context_layout(&t->context, arena, in);
	}
	return ok && t->rows != NULL && t->cell_ptr != NULL && t->loss != NULL;
}

size_t
rank_sgd_size(const JobConfig *config, const JobInput *input, int workers)
{
	SgdTrain t = {0};
	Arena dry = {(char *) 64, SIZE_MAX / 2, 0};

	(void) workers;
	plan_make(&t.plan, config, input);
	if (!train_layout(&t, &dry, input))
		return SIZE_MAX;
	return dry.used + sizeof(float) * 4 * ((size_t) t.plan.dim + 64) + 4096;
}

/* ---- cells ---- */

/* parts of about equally many ratings */
static void
find_bounds(const int64_t *ptr, int32_t n, int32_t *bound)
{
	int32_t row = 0;

	for (int s = 0; s < SIDES; s++)
	{
		while (row < n && ptr[row] < ptr[n] * s / SIDES)
			row++;
		bound[s] = row;
	}
	bound[0] = 0;
	bound[SIDES] = n;
}

static int
side_of(const int32_t *bound, int32_t row)
{
	int low = 0;
	int high = SIDES - 1;

	while (low < high)
	{
		int mid = (low + high + 1) / 2;

		if (bound[mid] <= row)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

/* cells of the users' part s; each member some parts */
static void
fill_part(SgdTrain *t, int s, int64_t *at)
{
	const Dataset *ds = t->run->ds;
	const int64_t *cell = t->cell_ptr + s * SIDES;

	for (int k = 0; k < SIDES; k++)
		at[k] = cell[k];
	for (int32_t u = t->bound[0][s]; u < t->bound[0][s + 1]; u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(t->run, u); r++)
		{
			SgdRow *to = &t->rows[at[side_of(t->bound[1], ds->item[r])]++];

			to->user = u;
			to->item = ds->item[r];
			to->rating =
				(float) ((ds->rating[r] - t->shift -
						  rank_context_offset(&t->context, t->run, r)) /
						 t->scale);
		}
	for (int k = 0; k < SIDES; k++)
	{
		Rng rng;

		rng_init(&rng, t->run->job->config.seed,
				 (uint64_t) (1000 + s * SIDES + k));
		for (int64_t r = at[k] - 1; r > cell[k]; r--)
		{
			int64_t o = cell[k] +
						(int64_t) rng_below(&rng, (uint64_t) (r - cell[k] + 1));
			SgdRow swap = t->rows[r];

			t->rows[r] = t->rows[o];
			t->rows[o] = swap;
		}
	}
}

static void
count_cells(SgdTrain *t)
{
	const Dataset *ds = t->run->ds;
	int64_t sum = 0;

	memset(t->cell_ptr, 0, sizeof(int64_t) * (CELLS + 1));
	for (int s = 0; s < SIDES; s++)
		for (int32_t u = t->bound[0][s]; u < t->bound[0][s + 1]; u++)
			for (int64_t r = ds->user_ptr[u]; r < rank_user_end(t->run, u); r++)
				t->cell_ptr[s * SIDES + side_of(t->bound[1], ds->item[r])]++;
	for (int c = 0; c <= CELLS; c++)
	{
		int64_t n = t->cell_ptr[c];

		t->cell_ptr[c] = sum;
		sum += n;
	}
}

static RsStatus
make_cells(SgdTrain *t)
{
	Team *team = t->run->team;
	int64_t at[SIDES];
	RsStatus st;

	find_bounds(t->run->ds->user_ptr, t->run->ds->n_users, t->bound[0]);
	find_bounds(t->run->ds->item_ptr, t->run->ds->n_items, t->bound[1]);
	if (team->rank == 0)
		count_cells(t);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	for (int s = team->rank; s < SIDES; s += team->size)
		fill_part(t, s, at);
	return team_barrier(team);
}

static void
init_vectors(SgdTrain *t)
{
	for (int side = 0; side < 2; side++)
	{
		int32_t n = side == 0 ? t->run->ds->n_users : t->run->ds->n_items;

		for (int32_t r = 0; r < n; r++)
		{
			float *x = t->vec[side] + (size_t) r * (size_t) t->plan.width;

			memset(x, 0, sizeof(float) * (size_t) t->plan.width);
			normals_fill(t->run->job->config.seed,
						 (uint64_t) side << 40 | (uint64_t) r, x, t->plan.dim);
			for (int f = 0; f < t->plan.dim; f++)
				x[f] *= 0.1f;
		}
	}
}

/* ---- descent ---- */

typedef struct SgdStep
{
	float rate;
	float lambda;
	int d; /* factors, a multiple of 8; the bias follows */
} SgdStep;

/* one pass over some rows of a cell; returns the sum of squared errors */
CLONES static double
descend(const SgdRow *rows, int64_t n, float *users, float *items, int width,
		const SgdStep *s)
{
	double loss = 0;
	float shrink = 1 - s->rate * s->lambda;
	int d = s->d;

	for (int64_t r = 0; r < n; r++)
	{
		float *restrict p = users + (size_t) rows[r].user * (size_t) width;
		float *restrict q = items + (size_t) rows[r].item * (size_t) width;
		float part[8] = {0};
		float e = rows[r].rating - p[d] - q[d];

		for (int f = 0; f < d; f += 8)
			for (int l = 0; l < 8; l++)
				part[l] += p[f + l] * q[f + l];
		for (int l = 0; l < 8; l++)
			e -= part[l];
		loss += (double) e * e;
		/* one wild rating must not throw its user and item away */
		e = e > MOST_ERROR ? MOST_ERROR : e < -MOST_ERROR ? -MOST_ERROR : e;
		e *= s->rate;
		for (int f = 0; f < d; f++)
		{
			float x = p[f];

			p[f] = shrink * x + e * q[f];
			q[f] = shrink * q[f] + e * x;
		}
		/* biases are pulled less: they are supported better */
		p[d] += e - 0.2f * s->rate * s->lambda * p[d];
		q[d] += e - 0.2f * s->rate * s->lambda * q[d];
	}
	return loss;
}

static void
run_cell(SgdTrain *t, int c, const SgdStep *step)
{
	double loss = 0;

	for (int64_t r = t->cell_ptr[c]; r < t->cell_ptr[c + 1]; r += CHECK_ROWS)
	{
		int64_t n = t->cell_ptr[c + 1] - r;

		loss += descend(t->rows + r, n < CHECK_ROWS ? n : CHECK_ROWS, t->vec[0],
						t->vec[1], t->plan.width, step);
		/* vectors that ran away do not come back */
		if (!isfinite(loss))
			team_stop(t->run->team, RS_DIVERGED);
		if (team_stopped(t->run->team) != RS_OK)
			break;
	}
	t->loss[c] = loss;
}

/* all cells once, diagonal by diagonal */
static RsStatus
run_epoch(SgdTrain *t, int epoch, double *loss)
{
	Team *team = t->run->team;
	float left = 1 - 0.9f * (float) epoch / (float) t->plan.epochs;
	SgdStep step = {t->plan.rate * left, t->plan.lambda, t->plan.width - 8};
	RsStatus st;

	for (int d = 0; d < SIDES; d++)
	{
		for (int s = team->rank; s < SIDES; s += team->size)
			run_cell(t, s * SIDES + (s + d) % SIDES, &step);
		if ((st = team_barrier(team)) != RS_OK)
			return st;
	}
	*loss = 0;
	for (int c = 0; c < CELLS; c++)
		*loss += t->loss[c];
	if (!isfinite(*loss))
		team_stop(team, RS_DIVERGED);
	return team_barrier(team);
}

static void
report(SgdTrain *t, int epoch, double loss)
{
	JobShared *job = t->run->job;
	double n = (double) rank_n_train(t->run);
	double seconds = rank_clock() - t->run->started;

	if (t->run->team->rank != 0)
		return;
	loss = loss / n * t->scale * t->scale;
	job_log(job, "ranking", epoch, loss, "", 0, seconds);
	job->progress.epoch = epoch;
	job->progress.epochs = t->plan.epochs;
	job->progress.loss = loss;
	job->progress.rate = n * epoch / (seconds > 0 ? seconds : 1);
	job->output.epochs = epoch;
}

/* ---- output ---- */

/* user [p, mean + b, 1], item [q, 1, b] in the ratings' unit */
static void
write_side(SgdTrain *t, int side, int32_t n)
{
	int dim = t->plan.dim;
	float scale = (float) t->scale;

	for (int32_t r = 0; r < n; r++)
	{
		const float *x = t->vec[side] + (size_t) r * (size_t) t->plan.width;
		float *to = t->out[side] + (size_t) r * ((size_t) dim + 2);
		float b = x[t->plan.width - 8] * scale;

		for (int f = 0; f < dim; f++)
			to[f] = x[f] * (side == 0 ? scale : 1);
		to[dim] = side == 0 ? b + (float) t->shift : 1;
		to[dim + 1] = side == 0 ? 1 : b;
	}
}

/* what the context adds to a user's vector: to its bias; rank 0 */
static void
write_context(SgdTrain *t)
{
	JobOutput *out = &t->run->job->output;
	const Context *c = t->run->context;
	size_t width = (size_t) t->plan.dim + 2;
	float *bias = t->context.bias;
	float mean = 0;

	if (c == NULL)
		return;
	context_center(c, &t->context.by, t->run->ds, t->run->all, 1, bias, &mean);
	for (int32_t u = 0; u < t->run->ds->n_users; u++)
		t->out[0][(size_t) u * width + (size_t) t->plan.dim] += mean;
	memset(t->map, 0, sizeof(float) * (size_t) c->n_cols * width);
	for (int32_t k = 0; k < c->n_cols; k++)
		t->map[(size_t) k * width + (size_t) t->plan.dim] = bias[k];
	out->context_user_map = job_offset(t->run->job, t->map);
}

static RsStatus
output(SgdTrain *t, const RankBias *bias)
{
	JobOutput *out = &t->run->job->output;
	const Dataset *ds = t->run->ds;
	int dim = t->plan.dim + 2;
	char text[128];
	RsStatus st;

	if (t->run->team->rank == 0)
	{
		write_side(t, 0, ds->n_users);
		write_side(t, 1, ds->n_items);
		write_context(t);
		out->ranking = RANKING_FACTOR;
		out->user_ranking_dim = out->item_ranking_dim = dim;
		out->user_ranking = job_offset(t->run->job, t->out[0]);
		out->item_ranking = job_offset(t->run->job, t->out[1]);
	}
	if ((st = rank_add_means(t->run, t->out[0], t->out[1], dim, dim)) !=
			RS_OK ||
		(st = rank_add_clamp(t->run, bias)) != RS_OK)
		return st;
	snprintf(text, sizeof(text),
			 "Ranking: biased matrix factorization by gradient, %d factors.",
			 t->plan.dim);
	rank_add_choice(t->run, text);
	return team_barrier(t->run->team);
}

RsStatus
rank_sgd_run(RankRun *run, RankBias *bias)
{
	SgdTrain t = {.run = run};
	bool late = false;
	RsStatus st;

	plan_make(&t.plan, &run->job->config, &run->job->input);
	if (run->quick && t.plan.epochs > 10)
		t.plan.epochs = (t.plan.epochs + 1) / 2;
	t.shift = bias->mean;
	t.scale = rank_deviation(run, bias->mean);
	if (!train_layout(&t, run->arena, &run->job->input))
		team_stop(run->team, RS_NO_MEMORY);
	if ((st = team_barrier(run->team)) != RS_OK)
		return st;
	if (run->team->rank == 0)
		init_vectors(&t);
	if (run->context != NULL &&
		(st = rank_context_fit(&t.context, run, bias)) != RS_OK)
		return st;
	if ((st = make_cells(&t)) != RS_OK)
		return st;
	for (int epoch = 0; epoch < t.plan.epochs; epoch++)
	{
		double loss;

		if ((st = run_epoch(&t, epoch, &loss)) != RS_OK ||
			(st = rank_late(run, &late)) != RS_OK)
			return st;
		report(&t, epoch + 1, loss);
		if (late)
			break;
	}
	return output(&t, bias);
}

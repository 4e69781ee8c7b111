/*
 * rank_mlp.c
 *		The ranking learner by gradient: a rating network over two vectors.
 *
 * The tutorial's ranking model (preset tfrs: embeddings of 32, hidden layers
 * 256 and 64, squared error, Adagrad 0.1, batches of 8,192 rows, shuffled
 * once) and anything like it. A batch goes through five phases with a
 * barrier after each:
 *
 *	1. products of the batch's distinct users and items with kernel 0
 *	2. tiles of rows: z0 = user part + item part, forward, backward; the
 *	   gradients of a tile go to a slot of its own
 *	3. gradients by z0 summed for each distinct user and item
 *	4. from those the gradients of kernel 0 and of the vectors
 *	5. optimizer steps; sums over tiles in the order of tiles
 *
 * With cross layers the rows of a tile are multiplied as they are: phase 1
 * is left out, phase 2 gives the gradients by the concatenated vectors and
 * by all parameters, phase 3 sums the former.
 *
 * Tiles do not depend on the team, nor does any order of summation, so a
 * training gives the same bytes for any number of members.
 */
#include "model/rank_mlp_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/blas.h"
#include "math/hooks.h"
#include "math/rng.h"

#define ADAGRAD_START 0.1f

static bool
is_binary(const JobConfig *config)
{
	return config->ranking_loss == LOSS_BINARY;
}

static void
plan_make(MlpPlan *plan, const JobConfig *config, const JobInput *input)
{
	static const int hidden[2] = {256, 64};
	bool tfrs = config->preset == PRESET_TFRS;
	int n_hidden = config->n_hidden;

	memset(plan, 0, sizeof(*plan));
	plan->dim = config->dim > 0 ? config->dim : 32;
	mlp_init(&plan->mlp, (input->context.n_cols > 0 ? 3 : 2) * plan->dim,
			 n_hidden < 0 ? hidden : config->hidden,
			 n_hidden < 0 ? 2 : n_hidden, config->cross_layers,
			 is_binary(config));
	plan->batch = config->batch_size > 0 ? config->batch_size
				  : tfrs                 ? 8192
										 : 1024;
	if (plan->batch > input->n)
		plan->batch = (int) input->n;
	plan->tile = (plan->batch + 15) / 16;
	plan->tile = plan->tile < 64 ? 64 : plan->tile;
	plan->tile = plan->tile > RANK_MLP_TILE ? RANK_MLP_TILE : plan->tile;
	plan->n_tiles = (plan->batch + plan->tile - 1) / plan->tile;
	plan->epochs = config->epochs > 0 ? config->epochs : tfrs ? 3 : 50;
	plan->patience = config->patience >= 0 ? config->patience : tfrs ? 0 : 5;
	/* by the mean over a batch Adagrad's steps are too short to get far */
	plan->optimizer = config->optimizer != OPTIMIZER_AUTO ? config->optimizer
					  : tfrs                              ? OPTIMIZER_ADAGRAD
														  : OPTIMIZER_ADAM;
	plan->rate = isfinite(config->learning_rate)     ? config->learning_rate
				 : plan->optimizer == OPTIMIZER_ADAM ? 0.001f
													 : 0.1f;
	plan->scaled = !tfrs && !plan->mlp.binary;
}

/* how many distinct users or items a batch can have */
static size_t
side_rows(const MlpPlan *p, const JobInput *input, int side)
{
	int32_t n = side == 0   ? input->n_users
				: side == 1 ? input->n_items
							: p->batch;

	return (size_t) (n < p->batch ? n : p->batch);
}

static bool
side_layout(MlpTrain *t, Arena *arena, const JobInput *input, int side)
{
	size_t n = side_rows(&t->plan, input, side);
	size_t h1 = (size_t) t->plan.mlp.width[1];

	t->part[side] = arena_alloc(arena, n * h1, sizeof(float));
	/* every row is an occasion of its own: there is nothing to sum */
	t->sum[side] =
		side == 2 ? t->z0 : arena_alloc(arena, n * h1, sizeof(float));
	t->grad_row[side] =
		arena_alloc(arena, n * (size_t) t->plan.dim, sizeof(float));
	return t->part[side] != NULL && t->sum[side] != NULL &&
		   t->grad_row[side] != NULL;
}

/* every allocation in the arena; with a dry arena it measures */
static bool
train_layout(MlpTrain *t, Arena *arena, const JobInput *input)
{
	const MlpPlan *p = &t->plan;
	size_t rows = t->rows;
	size_t h1 = (size_t) p->mlp.width[1];
	size_t batch = (size_t) p->batch;
	size_t dim = (size_t) p->dim;
	size_t np = p->mlp.n_params;
	int states = p->optimizer == OPTIMIZER_ADAM ? 2 : 1;

	t->vectors = arena_alloc(arena, rows * dim, sizeof(float));
	t->params = arena_alloc(arena, np, sizeof(float));
	t->vectors_state = arena_alloc(arena, rows * dim, sizeof(float) * states);
	t->params_state = arena_alloc(arena, np, sizeof(float) * states);
	t->vectors_best = arena_alloc(arena, rows * dim, sizeof(float));
	t->params_best = arena_alloc(arena, np, sizeof(float));
	t->z0 = arena_alloc(arena, batch * h1, sizeof(float));
	t->x0 = arena_alloc(
		arena, p->mlp.n_cross > 0 ? batch * (size_t) t->sides * dim : 0,
		sizeof(float));
	t->grad = arena_alloc(arena, np, sizeof(float));
	t->grad_tile = arena_alloc(arena, (size_t) p->n_tiles * (np - p->mlp.tail),
							   sizeof(float));
	t->loss = arena_alloc(arena, (size_t) p->n_tiles, sizeof(double));
	return t->vectors != NULL && t->params != NULL &&
		   t->vectors_state != NULL && t->params_state != NULL &&
		   t->vectors_best != NULL && t->params_best != NULL && t->z0 != NULL &&
		   t->grad != NULL && t->grad_tile != NULL && t->loss != NULL &&
		   side_layout(t, arena, input, 0) && side_layout(t, arena, input, 1) &&
		   (t->sides < 3 || side_layout(t, arena, input, 2)) &&
		   rank_mlp_input_layout(t, arena, input) &&
		   rank_batches_layout(&t->batches, arena, input->n, p->batch,
							   t->sides > 2);
}

size_t
rank_mlp_size(const JobConfig *config, const JobInput *input, int workers)
{
	MlpTrain t = {0};
	Arena dry = {(char *) 64, SIZE_MAX / 2, 0};
	size_t params;

	(void) workers;
	plan_make(&t.plan, config, input);
	rank_mlp_input_plan(&t, input);
	if (!train_layout(&t, &dry, input))
		return SIZE_MAX;
	/* the output: a copy of the vectors and the parameters */
	params = (t.plan.mlp.n_params +
			  ((size_t) input->n_users + (size_t) input->n_items + 4) *
				  (size_t) t.plan.dim) *
			 sizeof(float);
	return dry.used + params + 64 * (JOB_MAX_PARAMS + 4);
}

/* ---- start, validation, output ---- */

static void
init_vectors(MlpTrain *t)
{
	const MlpPlan *p = &t->plan;
	size_t n = t->rows * (size_t) p->dim;
	Rng rng;

	rng_init(&rng, t->run->job->config.seed, 15);
	for (size_t k = 0; k < n; k++)
		t->vectors[k] = (float) (0.1 * rng_uniform(&rng) - 0.05);
	mlp_init_params(&p->mlp, t->run->job->config.seed, t->params);
	memset(t->vectors_state, 0, sizeof(float) * n);
	memset(t->params_state, 0, sizeof(float) * p->mlp.n_params);
	if (p->optimizer == OPTIMIZER_ADAM)
	{
		memset(t->vectors_state, 0, 2 * sizeof(float) * n);
		memset(t->params_state, 0, 2 * sizeof(float) * p->mlp.n_params);
	}
	if (p->optimizer != OPTIMIZER_ADAGRAD)
		return;
	for (size_t k = 0; k < n; k++)
		t->vectors_state[k] = ADAGRAD_START;
	for (size_t k = 0; k < p->mlp.n_params; k++)
		t->params_state[k] = ADAGRAD_START;
}

/* squared errors (or logistic losses) of up to tile held-out rows */
static double
held_loss(MlpTrain *t, const RankBias *bias, int n, const float *y)
{
	double loss = 0;
	float *out = t->scratch + mlp_scratch(&t->plan.mlp, t->plan.tile);

	mlp_forward(&t->plan.mlp, t->params, n, t->gather, out, t->scratch);
	for (int r = 0; r < n; r++)
	{
		double p = t->shift + t->scale * (double) out[r];

		if (t->plan.mlp.binary)
		{
			loss += (p > 0 ? p : 0) + log1p(exp(-fabs(p))) - (y[r] > 0) * p;
			continue;
		}
		p = fmin(fmax(p, bias->low), bias->high);
		loss += (p - y[r]) * (p - y[r]);
	}
	return loss;
}

static double
held_chunk(MlpTrain *t, const RankBias *bias, int chunk)
{
	const Dataset *ds = t->run->ds;
	int32_t from = (int32_t) ((int64_t) ds->n_users * chunk / RANK_CHUNKS);
	int32_t to = (int32_t) ((int64_t) ds->n_users * (chunk + 1) / RANK_CHUNKS);
	size_t dim = (size_t) t->plan.dim;
	float y[RANK_MLP_TILE];
	double loss = 0;
	int n = 0;

	for (int32_t u = from; u < to; u++)
		for (int64_t r = ds->user_end[u]; r < ds->user_ptr[u + 1]; r++)
		{
			float *x = t->gather + (size_t) t->sides * dim * (size_t) n;

			rank_mlp_input(t, 0, u, x);
			rank_mlp_input(t, 1, ds->item[r], x + rank_mlp_block(t, 1));
			if (t->sides > 2)
				rank_mlp_input(t, 2, r, x + rank_mlp_block(t, 2));
			y[n++] = rank_target(t->run, r);
			if (n == t->plan.tile)
			{
				loss += held_loss(t, bias, n, y);
				n = 0;
			}
		}
	return n > 0 ? loss + held_loss(t, bias, n, y) : loss;
}

/* RMSE (or mean log loss) on the held-out rows with the weights as they are */
static RsStatus
validate(MlpTrain *t, const RankBias *bias, double *value)
{
	RankRun *run = t->run;
	double sum = 0;
	RsStatus st;

	for (int c = run->team->rank; c < RANK_CHUNKS; c += run->team->size)
	{
		run->chunk[c] = held_chunk(t, bias, c);
		if (team_stopped(run->team) != RS_OK)
			break;
	}
	if ((st = team_barrier(run->team)) != RS_OK)
		return st;
	for (int c = 0; c < RANK_CHUNKS; c++)
		sum += run->chunk[c];
	sum /= (double) run->ds->n_held;
	*value = t->plan.mlp.binary ? sum : sqrt(sum);
	return team_barrier(run->team);
}

static void
copy_weights(MlpTrain *t, bool to_best)
{
	size_t n = t->rows * (size_t) t->plan.dim * sizeof(float);

	if (t->run->team->rank != 0)
		return;
	memcpy(to_best ? t->vectors_best : t->vectors,
		   to_best ? t->vectors : t->vectors_best, n);
	memcpy(to_best ? t->params_best : t->params,
		   to_best ? t->params : t->params_best,
		   sizeof(float) * t->plan.mlp.n_params);
}

static void
report(MlpTrain *t, int epoch, double loss, double value)
{
	JobShared *job = t->run->job;
	double seconds = rank_clock() - t->run->started;
	double rows = (double) rank_n_train(t->run);

	if (t->run->team->rank != 0)
		return;
	loss *= t->scale * t->scale;
	job_log(job, "ranking", epoch, loss / rows,
			isnan(value)         ? ""
			: t->plan.mlp.binary ? "log_loss"
								 : "rmse",
			isnan(value) ? 0 : value, seconds);
	job->progress.epoch = epoch;
	job->progress.epochs = t->plan.epochs;
	job->progress.loss = loss / rows;
	job->progress.rate = rows * epoch / (seconds > 0 ? seconds : 1);
	job->output.epochs = epoch;
}

static RsStatus
train_epochs(MlpTrain *t, const RankBias *bias)
{
	RankRun *run = t->run;
	bool watch = run->ds->n_held > 0 && !run->all;
	double best = INFINITY;
	int best_epoch = 0;
	bool late = false;
	RsStatus st;

	for (int epoch = 1; epoch <= t->plan.epochs; epoch++)
	{
		double loss = 0;
		double value = NAN;

		for (int k = 0; k < t->batches.n_batches; k++)
		{
			RankBatch b;

			rank_batch_get(&t->batches, k, &b);
			if ((st = rank_mlp_step(t, &b, &loss)) != RS_OK)
				return st;
		}
		if (watch && t->plan.patience > 0)
		{
			if ((st = validate(t, bias, &value)) != RS_OK)
				return st;
			if (value < best)
			{
				best = value;
				best_epoch = epoch;
				copy_weights(t, true);
			}
		}
		report(t, epoch, loss, value);
		if ((st = rank_late(run, &late)) != RS_OK)
			return st;
		if (late || (best_epoch > 0 && epoch - best_epoch >= t->plan.patience))
			break;
	}
	if (best_epoch > 0)
	{
		copy_weights(t, false);
		if (run->team->rank == 0)
			run->job->output.epochs = best_epoch;
	}
	return team_barrier(run->team);
}

/* rank 0: a copy of some parameters of the output, times scale */
static float *
add_copy(MlpTrain *t, const char *what, int number, size_t at, int rows,
		 int cols, float scale)
{
	char name[32];
	float *to;

	snprintf(name, sizeof(name), "%s_%d", what, number);
	to = rows > 0 ? rank_add_param(t->run, name, 2, rows, cols)
				  : rank_add_param(t->run, name, 1, cols, 0);
	if (to == NULL || t->run->team->rank != 0)
		return to;
	for (size_t k = 0; k < (size_t) (rows > 0 ? rows : 1) * (size_t) cols; k++)
		to[k] = t->params[at + k] * scale;
	return to;
}

/* rank 0: parameters of the output, the standardisation folded in */
static RsStatus
output_layers(MlpTrain *t)
{
	const Mlp *mlp = &t->plan.mlp;
	int d = mlp->width[0];

	for (int l = 0; l < mlp->n_cross; l++)
		if (add_copy(t, "cross_kernel", l, mlp->cross_kernel[l], d, d, 1) ==
				NULL ||
			add_copy(t, "cross_bias", l, mlp->cross_bias[l], 0, d, 1) == NULL)
			return RS_NO_MEMORY;
	for (int l = 0; l < mlp->n_layers; l++)
	{
		bool last = l + 1 == mlp->n_layers;
		float scale = last ? (float) t->scale : 1;
		float *b;

		if (add_copy(t, "kernel", l, mlp->kernel[l], mlp->width[l],
					 mlp->width[l + 1], scale) == NULL)
			return RS_NO_MEMORY;
		b = add_copy(t, "bias", l, mlp->bias[l], 0, mlp->width[l + 1], scale);
		if (b == NULL)
			return RS_NO_MEMORY;
		if (last && t->run->team->rank == 0)
			b[0] += (float) t->shift;
	}
	return RS_OK;
}

static RsStatus
output(MlpTrain *t, const RankBias *bias)
{
	JobOutput *out = &t->run->job->output;
	RsStatus st;

	if (t->run->team->rank == 0)
	{
		out->ranking = RANKING_MLP;
		rank_mlp_input_output(t);
	}
	if ((st = team_barrier(t->run->team)) != RS_OK ||
		(st = output_layers(t)) != RS_OK ||
		(st = rank_add_means(t->run, job_at(t->run->job, out->user_ranking),
							 job_at(t->run->job, out->item_ranking),
							 out->user_ranking_dim, out->item_ranking_dim)) !=
			RS_OK)
		return st;
	if (t->plan.mlp.binary)
	{
		float *logistic = rank_add_param(t->run, "logistic", 1, 1, 0);

		if (logistic == NULL)
			return RS_NO_MEMORY;
		*logistic = 1;
	}
	else if (t->plan.scaled && (st = rank_add_clamp(t->run, bias)) != RS_OK)
		return st;
	return team_barrier(t->run->team);
}

static bool
alloc_private(MlpTrain *t)
{
	const JobInput *input = &t->run->job->input;
	size_t rows = (size_t) t->sides * RANK_MLP_TILE;

	for (int side = 0; side < t->sides; side++)
		if (rows < side_rows(&t->plan, input, side))
			rows = side_rows(&t->plan, input, side);
	t->gather = math_alloc_array(rows * (size_t) t->plan.dim, sizeof(float));
	t->scratch = math_alloc_array(
		mlp_scratch(&t->plan.mlp, t->plan.tile) + RANK_MLP_TILE, sizeof(float));
	return t->gather != NULL && t->scratch != NULL;
}

RsStatus
rank_mlp_run(RankRun *run, RankBias *bias)
{
	MlpTrain t = {.run = run, .scale = 1};
	RsStatus st;

	plan_make(&t.plan, &run->job->config, &run->job->input);
	rank_mlp_input_plan(&t, &run->job->input);
	if (run->all && run->best_epoch > 0)
		t.plan.epochs = run->best_epoch;
	if (!train_layout(&t, run->arena, &run->job->input) || !alloc_private(&t))
		team_stop(run->team, RS_NO_MEMORY);
	st = team_barrier(run->team);
	if (st == RS_OK)
	{
		if (t.plan.scaled)
		{
			t.shift = bias->mean;
			t.scale = rank_deviation(run, bias->mean);
		}
		rank_mlp_input_start(&t);
		if (run->team->rank == 0)
			init_vectors(&t);
		st = rank_batches_build(&t.batches, run, t.shift, t.scale);
	}
	if (st == RS_OK)
		st = train_epochs(&t, bias);
	if (st == RS_OK)
		st = output(&t, bias);
	if (st == RS_OK)
		rank_add_choice(
			run, t.plan.mlp.n_cross > 0 && !t.plain
					 ? "Ranking: a network with cross layers over ids and "
					   "features."
				 : t.plan.mlp.n_cross > 0
					 ? "Ranking: a network with cross layers over both vectors."
				 : !t.plain ? "Ranking: a network over ids and features."
							: "Ranking: a network over both vectors.");
	math_release(t.gather);
	math_release(t.scratch);
	return st;
}

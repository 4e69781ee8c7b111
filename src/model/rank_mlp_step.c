/*
 * rank_mlp_step.c
 *		One batch of the rating network; rank_mlp.c says which phases it has.
 */
#include "model/rank_mlp_int.h"

#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/dense.h"
#include "math/vec.h"

#define ADAGRAD_EPSILON 1e-7f

/* inputs of a batch: distinct users, distinct items, all rows' contexts */
static int
inputs_of(const RankBatch *b, int side)
{
	return side == 2 ? b->n : b->side[side].n;
}

static int64_t
input_id(const RankBatch *b, int side, int64_t k)
{
	return side == 2 ? (int64_t) b->place[k] : b->side[side].id[k];
}

/* part (n, h1) = inputs of the batch, times their rows of kernel 0 */
static void
multiply_parts(MlpTrain *t, const RankBatch *b)
{
	int dim = t->plan.dim;
	int h1 = t->plan.mlp.width[1];

	for (int side = 0; side < t->sides; side++)
	{
		float *part = t->part[side];
		const float *kernel = t->params + (size_t) rank_mlp_block(t, side) * h1;
		int64_t from;
		int64_t to;

		team_range(t->run->team, inputs_of(b, side), &from, &to);
		if (from == to)
			continue;
		for (int64_t k = from; k < to; k++)
			rank_mlp_input(t, side, input_id(b, side, k),
						   t->gather + (k - from) * dim);
		blas.sgemm(false, false, (int) (to - from), h1, dim, 1, t->gather, dim,
				   kernel, h1, 0, part + from * h1, h1);
	}
}

static void
run_tile(MlpTrain *t, const RankBatch *b, int tile)
{
	const Mlp *mlp = &t->plan.mlp;
	int h1 = mlp->width[1];
	int from = tile * t->plan.tile;
	int to = from + t->plan.tile < b->n ? from + t->plan.tile : b->n;
	float *z0 = t->z0 + (size_t) from * h1;

	for (int r = from; r < to; r++)
	{
		const float *x = t->part[0] + (size_t) b->side[0].local[r] * h1;
		const float *y = t->part[1] + (size_t) b->side[1].local[r] * h1;
		float *z = t->z0 + (size_t) r * h1;

		for (int j = 0; j < h1; j++)
			z[j] = x[j] + y[j];
		if (t->sides > 2)
			vec_axpy(1, t->part[2] + (size_t) r * (size_t) h1, z, h1);
	}
	t->loss[tile] = mlp_tile(
		mlp, t->params, to - from, z0, b->target + from, 1 / (float) b->n,
		t->grad_tile + (size_t) tile * (mlp->n_params - mlp->tail), t->scratch);
}

/* the same with cross layers, from the vectors as they are */
static void
run_cross_tile(MlpTrain *t, const RankBatch *b, int tile)
{
	const Mlp *mlp = &t->plan.mlp;
	size_t width = (size_t) t->sides * (size_t) t->plan.dim;
	int from = tile * t->plan.tile;
	int to = from + t->plan.tile < b->n ? from + t->plan.tile : b->n;
	float *x0 = t->x0 + (size_t) from * width;

	for (int r = from; r < to; r++)
		for (int side = 0; side < t->sides; side++)
			rank_mlp_input(t, side,
						   side == 2 ? (int64_t) b->place[r]
									 : b->side[side].id[b->side[side].local[r]],
						   t->x0 + (size_t) r * width +
							   rank_mlp_block(t, side));
	t->loss[tile] = mlp_cross_tile(
		mlp, t->params, to - from, x0, b->target + from, 1 / (float) b->n,
		t->grad_tile + (size_t) tile * mlp->n_params, t->scratch);
}

/*
 * Sums of a batch's rows for each distinct user or item, this worker's part:
 * row r is the width floats from x + r * stride on; sum is (n, width).
 */
static void
sum_by_group(MlpTrain *t, const RankBatch *b, int side, const float *x,
			 size_t stride, int width, float *sum)
{
	const RankGroup *g = &b->side[side];
	int from;
	int to;

	rank_group_part(g, b->n, t->run->team, &from, &to);
	for (int k = from; k < to; k++)
	{
		float *s = sum + (size_t) k * (size_t) width;

		memset(s, 0, sizeof(float) * (size_t) width);
		for (int32_t e = g->ptr[k]; e < g->ptr[k + 1]; e++)
			vec_axpy(1, x + (size_t) g->row[e] * stride, s, width);
	}
}

/* gradients by users and items: x0 has those of all inputs in each row */
static void
sum_rows(MlpTrain *t, const RankBatch *b)
{
	int dim = t->plan.dim;

	for (int side = 0; side < 2; side++)
		sum_by_group(t, b, side, t->x0 + rank_mlp_block(t, side),
					 (size_t) t->sides * (size_t) dim, dim, t->grad_row[side]);
}

/* gradients by z0 */
static void
sum_parts(MlpTrain *t, const RankBatch *b)
{
	int h1 = t->plan.mlp.width[1];

	for (int side = 0; side < 2; side++)
		sum_by_group(t, b, side, t->z0, (size_t) h1, h1, t->sum[side]);
}

/* kernel 0's gradient by columns, the vectors' gradient by rows */
static void
backward_parts(MlpTrain *t, const RankBatch *b)
{
	int dim = t->plan.dim;
	int h1 = t->plan.mlp.width[1];
	int64_t from;
	int64_t to;

	for (int side = 0; side < t->sides; side++)
	{
		const float *sum = t->sum[side];
		float *rows = t->grad_row[side];
		size_t kernel = (size_t) rank_mlp_block(t, side) * (size_t) h1;
		int n = inputs_of(b, side);

		/* 32 columns at a time, whatever the team: the same products */
		for (int k = 0; k < n; k++)
			rank_mlp_input(t, side, input_id(b, side, k),
						   t->gather + (size_t) k * (size_t) dim);
		for (int c = 32 * t->run->team->rank; c < h1;
			 c += 32 * t->run->team->size)
			blas.sgemm(true, false, dim, h1 - c < 32 ? h1 - c : 32, n, 1,
					   t->gather, dim, sum + c, h1, 0, t->grad + kernel + c,
					   h1);
		team_range(t->run->team, n, &from, &to);
		if (from < to)
			blas.sgemm(false, true, (int) (to - from), dim, h1, 1,
					   sum + from * h1, h1, t->params + kernel, h1, 0,
					   rows + from * dim, dim);
	}
}

static void
optimizer_step(const MlpTrain *t, float *w, const float *g, float *state,
			   size_t n)
{
	float rate = t->plan.rate;

	if (t->plan.optimizer == OPTIMIZER_SGD)
	{
		for (size_t k = 0; k < n; k++)
			w[k] -= rate * g[k];
	}
	else if (t->plan.optimizer == OPTIMIZER_ADAGRAD)
		dense.adagrad(w, state, g, (int) n, rate, ADAGRAD_EPSILON);
	else
	{
		/* Adam; rows without a gradient stay as they are */
		float c1 = 1 - powf(0.9f, (float) t->step);
		float c2 = 1 - powf(0.999f, (float) t->step);

		for (size_t k = 0; k < n; k++)
		{
			float *m = &state[2 * k];

			m[0] += 0.1f * (g[k] - m[0]);
			m[1] += 0.001f * (g[k] * g[k] - m[1]);
			w[k] -= rate * (m[0] / c1) / (sqrtf(m[1] / c2) + 1e-7f);
		}
	}
}

void
rank_mlp_optimize(MlpTrain *t, size_t row, const float *g)
{
	size_t dim = (size_t) t->plan.dim;
	size_t width = t->plan.optimizer == OPTIMIZER_ADAM ? 2 : 1;

	optimizer_step(t, t->vectors + row * dim, g,
				   t->vectors_state + width * row * dim, dim);
}

/* columns of features and of the context, this member's part */
static void
update_columns(MlpTrain *t, const RankBatch *b)
{
	size_t dim = (size_t) t->plan.dim;

	for (int side = 0; side < 2; side++)
		rank_mlp_columns_step(t, side, b->side[side].id, NULL, b->side[side].n,
							  t->grad_row[side], dim);
	if (t->sides < 3)
		return;
	if (t->plan.mlp.n_cross > 0)
		rank_mlp_columns_step(t, 2, NULL, b->place, b->n,
							  t->x0 + rank_mlp_block(t, 2),
							  (size_t) t->sides * dim);
	else
		rank_mlp_columns_step(t, 2, NULL, b->place, b->n, t->grad_row[2], dim);
}

static void
update(MlpTrain *t, const RankBatch *b)
{
	const Mlp *mlp = &t->plan.mlp;
	size_t dim = (size_t) t->plan.dim;
	size_t tail = mlp->n_params - mlp->tail;
	size_t width = t->plan.optimizer == OPTIMIZER_ADAM ? 2 : 1;
	int tiles = (b->n + t->plan.tile - 1) / t->plan.tile;
	int64_t from;
	int64_t to;

	team_range(t->run->team, (int64_t) mlp->n_params, &from, &to);
	for (int64_t k = from; k < to; k++)
		if ((size_t) k >= mlp->tail)
		{
			float s = 0;

			for (int i = 0; i < tiles; i++)
				s += t->grad_tile[(size_t) i * tail + (size_t) k - mlp->tail];
			t->grad[k] = s;
		}
	optimizer_step(t, t->params + from, t->grad + from,
				   t->params_state + width * (size_t) from,
				   (size_t) (to - from));
	for (int side = 0; side < 2; side++)
	{
		const RankGroup *g = &b->side[side];
		const float *rows = t->grad_row[side];

		team_range(t->run->team, g->n, &from, &to);
		for (int64_t k = from; k < to; k++)
			if (rank_mlp_has_id(t, side, g->id[k]))
				rank_mlp_optimize(t, t->inputs[side].first + (size_t) g->id[k],
								  rows + (size_t) k * dim);
	}
	update_columns(t, b);
}

/* all tiles, and the sum of their losses */
static RsStatus
run_tiles(MlpTrain *t, const RankBatch *b, double *loss)
{
	Team *team = t->run->team;
	int tiles = (b->n + t->plan.tile - 1) / t->plan.tile;
	double sum = 0;
	RsStatus st;

	for (int tile = team->rank; tile < tiles; tile += team->size)
	{
		if (t->plan.mlp.n_cross > 0)
			run_cross_tile(t, b, tile);
		else
			run_tile(t, b, tile);
		if (team_stopped(team) != RS_OK)
			break;
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	for (int tile = 0; tile < tiles; tile++)
		sum += t->loss[tile];
	if (!isfinite(sum))
	{
		team_stop(team, RS_DIVERGED);
		return RS_DIVERGED;
	}
	*loss += sum;
	return RS_OK;
}

RsStatus
rank_mlp_step(MlpTrain *t, const RankBatch *b, double *loss)
{
	Team *team = t->run->team;
	bool cross = t->plan.mlp.n_cross > 0;
	RsStatus st;

	t->step++;
	t->dropping = !t->plain;
	if (!cross)
	{
		multiply_parts(t, b);
		if ((st = team_barrier(team)) != RS_OK)
			return st;
	}
	if ((st = run_tiles(t, b, loss)) != RS_OK)
		return st;
	if (cross)
		sum_rows(t, b);
	else
	{
		sum_parts(t, b);
		if ((st = team_barrier(team)) != RS_OK)
			return st;
		backward_parts(t, b);
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	update(t, b);
	t->dropping = false;
	return team_barrier(team);
}

/*
 * softmax_block.c
 *		Forward and backward of the softmax over deduplicated rows.
 *
 * Three products a tile of users: scores S = Q C^T, gradients of the users
 * G C and of the items G^T Q. Each is cut into calls of BLAS below the bound
 * of blas.h.
 */
#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/dense.h"
#include "math/vec.h"
#include "model/softmax.h"

#define MAX_FLOP 4e8
#define NONE (-1e30f) /* the score of a candidate that does not count */

/* columns of a product with rows x dim, so that a call stays interruptible */
static int
tile_columns(int rows, int dim, int n)
{
	double most = MAX_FLOP / (2.0 * rows * dim);

	if (most >= n)
		return n;
	return most < 64 ? 64 : (int) most;
}

/* rows of matrix, scaled to unit norm when norms is not NULL */
static void
gather(float *to, float *norms, const float *matrix, const int32_t *rows, int n,
	   int dim)
{
	for (int r = 0; r < n; r++)
	{
		const float *from = matrix + (size_t) rows[r] * (size_t) dim;
		float *out = to + (size_t) r * (size_t) dim;

		memcpy(out, from, sizeof(float) * (size_t) dim);
		if (norms == NULL)
			continue;
		norms[r] = sqrtf(vec_dot(from, from, dim)) + 1e-12f;
		dense.scale(1 / norms[r], out, dim);
	}
}

/* gradient of x from the gradient of x / |x|, in place */
static void
project(float *grad, const float *unit, const float *norms, int n, int dim)
{
	for (int r = 0; r < n; r++)
	{
		float *g = grad + (size_t) r * (size_t) dim;
		const float *x = unit + (size_t) r * (size_t) dim;

		vec_axpy(-vec_dot(g, x, dim), x, g, dim);
		dense.scale(1 / norms[r], g, dim);
	}
}

/* what a row's Z is: without accidental hits its item counts once */
static inline float
row_z(const SoftmaxScratch *own, const float *s, int j, float z, float *one)
{
	*one = s[j] * expf(-own->logq[j]) / own->weight[j];
	z = z - s[j] + *one;
	return z > *one ? z : *one;
}

/* the k-th greatest of x (n), k from 1; x is put into another order */
static float
kth_greatest(float *x, int n, int k)
{
	int from = 0;
	int to = n - 1;

	while (from < to)
	{
		float pivot = x[from + (to - from) / 2];
		int i = from;
		int j = to;

		while (i <= j)
		{
			while (x[i] > pivot)
				i++;
			while (x[j] < pivot)
				j--;
			if (i <= j)
			{
				float keep = x[i];

				x[i++] = x[j];
				x[j--] = keep;
			}
		}
		if (k - 1 <= j)
			to = j;
		else if (k - 1 >= i)
			from = i;
		else
			break;
	}
	return x[k - 1];
}

/*
 * Only the hardest of the candidates keep their score, and the user's own at
 * pos (n). Equal to the last of them: kept, too.
 */
static void
keep_hardest(const Softmax *sm, float *s, const int32_t *pos, int n)
{
	const SoftmaxScratch *own = &sm->own;
	float *pick = own->pick;
	float least;

	for (int j = 0; j < own->n_cand; j++)
		pick[j] = s[j] - own->logq[j];
	/* the user's own take no place: NONE is below every score */
	for (int r = 0; r < n; r++)
		pick[pos[r]] = NONE;
	if (sm->config.hard >= own->n_cand)
		return;
	least = kth_greatest(pick, own->n_cand, sm->config.hard);
	for (int r = 0; r < n; r++)
		own->row[r] = s[pos[r]];
	for (int j = 0; j < own->n_cand; j++)
		if (s[j] - own->logq[j] < least)
			s[j] = NONE;
	for (int r = 0; r < n; r++)
		s[pos[r]] = own->row[r];
}

/*
 * Scores of one user in s become gradients; returns the user's loss.
 */
static double
user_gradient(const Softmax *sm, float *s, const int32_t *pos, int n)
{
	const SoftmaxScratch *own = &sm->own;
	bool removal = sm->config.remove_accidental;
	float inv_t = 1 / sm->config.temperature;
	float *row = own->row;
	float max;
	float z;
	float inv = 0;
	double loss = 0;

	if (sm->config.hard > 0)
		keep_hardest(sm, s, pos, n);
	for (int r = 0; r < n; r++)
		row[r] = s[pos[r]];
	z = dense.softmax(s, own->weight, own->n_cand, &max);
	for (int r = 0; r < n; r++)
	{
		int j = pos[r];
		float one = 0;
		float zr = removal ? row_z(own, s, j, z, &one) : z;

		loss += log(zr) + max - row[r] + own->logq[j];
		inv += 1 / zr;
		/* what the row takes away from its item's share of inv */
		row[r] = inv_t * (removal ? 1 + (s[j] - one) / zr : 1);
	}
	dense.scale(inv * inv_t, s, own->n_cand);
	for (int r = 0; r < n; r++)
		s[pos[r]] -= row[r];
	return loss;
}

void
softmax_candidates(Softmax *sm)
{
	SoftmaxScratch *own = &sm->own;

	gather(own->c, sm->config.normalize ? own->cn : NULL, sm->v, own->cand,
		   own->n_cand, sm->config.dim);
}

/* S = Q C^T / temperature */
static RsStatus
scores(Team *team, Softmax *sm, int n)
{
	SoftmaxScratch *own = &sm->own;
	int d = sm->config.dim;
	int step = tile_columns(n, d, own->n_cand);

	for (int j = 0; j < own->n_cand; j += step)
	{
		int m = own->n_cand - j < step ? own->n_cand - j : step;

		blas.sgemm(false, true, n, m, d, 1 / sm->config.temperature, own->q, d,
				   own->c + (size_t) j * (size_t) d, d, 0, own->s + j,
				   own->n_cand);
		if (team_stopped(team) != RS_OK)
			return team_stopped(team);
	}
	return RS_OK;
}

/* dQ = G C, dC += G^T Q */
static RsStatus
gradients(Team *team, Softmax *sm, int n, float *dc)
{
	SoftmaxScratch *own = &sm->own;
	int d = sm->config.dim;
	int step = tile_columns(n, d, own->n_cand);

	for (int j = 0; j < own->n_cand; j += step)
	{
		int m = own->n_cand - j < step ? own->n_cand - j : step;
		size_t at = (size_t) j * (size_t) d;

		blas.sgemm(false, false, n, d, m, 1, own->s + j, own->n_cand,
				   own->c + at, d, j == 0 ? 0 : 1, own->dq, d);
		blas.sgemm(true, false, m, d, n, 1, own->s + j, own->n_cand, own->q, d,
				   1, dc + at, d);
		if (team_stopped(team) != RS_OK)
			return team_stopped(team);
	}
	return RS_OK;
}

RsStatus
softmax_block(Team *team, Softmax *sm, float *dc, SoftmaxApply apply,
			  double *loss)
{
	SoftmaxScratch *own = &sm->own;
	int d = sm->config.dim;
	bool unit = sm->config.normalize;

	memset(dc, 0, sizeof(float) * (size_t) own->n_cand * (size_t) d);
	*loss = 0;
	for (int a = 0; a < own->n_users; a += sm->tile)
	{
		int n = own->n_users - a < sm->tile ? own->n_users - a : sm->tile;
		RsStatus st;

		gather(own->q, unit ? own->qn : NULL, sm->u, own->users + a, n, d);
		if ((st = scores(team, sm, n)) != RS_OK)
			return st;
		for (int r = 0; r < n; r++)
			*loss +=
				user_gradient(sm, own->s + (size_t) r * (size_t) own->n_cand,
							  own->pos + own->ptr[a + r],
							  own->ptr[a + r + 1] - own->ptr[a + r]);
		if ((st = gradients(team, sm, n, dc)) != RS_OK)
			return st;
		if (unit)
			project(own->dq, own->q, own->qn, n, d);
		apply(sm, a, n);
	}
	if (unit)
		project(dc, own->c, own->cn, own->n_cand, d);
	return RS_OK;
}

/* whether cand counts among the negatives of row r (see softmax_plain) */
static bool
plain_hard(const SoftmaxConfig *config, const int32_t *user,
		   const int32_t *item, int n, const float *u, const float *v,
		   const double *log_q, int r, int cand, int32_t n_items)
{
	int harder = 0;
	double score[2];

	for (int k = 0; k < n; k++)
		if (user[k] == user[r] && item[k] == cand)
			return true;
	for (int32_t i = 0; i < n_items; i++)
	{
		bool candidate = config->all;
		bool mine = false;

		for (int k = 0; k < n + config->negatives; k++)
		{
			candidate |= item[k] == i;
			mine |= k < n && user[k] == user[r] && item[k] == i;
		}
		for (int side = 0; side < 2; side++)
		{
			int c = side == 0 ? cand : i;

			score[side] = log_q != NULL ? -log_q[c] : 0;
			for (int k = 0; k < config->dim; k++)
				score[side] += (double) u[user[r] * config->dim + k] *
							   v[c * config->dim + k] / config->temperature;
		}
		harder += candidate && !mine && score[1] > score[0];
	}
	return harder < config->hard;
}

double
softmax_plain(const SoftmaxConfig *config, const int32_t *user,
			  const int32_t *item, int n, const float *u, const float *v,
			  const double *log_q, double *du, double *dv, int32_t n_items)
{
	int d = config->dim;
	double total = 0;
	int n_cand = config->all ? n_items : n + config->negatives;

	for (int r = 0; r < n; r++)
	{
		double z = 0;
		double own = 0;

		for (int pass = 0; pass < 2; pass++)
			for (int j = 0; j < n_cand; j++)
			{
				int cand = config->all ? j : item[j];
				bool label = config->all ? cand == item[r] : j == r;
				double s = 0;
				double g;

				if (config->remove_accidental && !label && cand == item[r])
					continue;
				if (config->hard > 0 && !plain_hard(config, user, item, n, u, v,
													log_q, r, cand, n_items))
					continue;
				for (int k = 0; k < d; k++)
					s += (double) u[user[r] * d + k] * v[cand * d + k];
				s = s / config->temperature - (log_q != NULL ? log_q[cand] : 0);
				if (pass == 0)
				{
					z += exp(s);
					own = label ? s : own;
					continue;
				}
				g = (exp(s) / z - label) / config->temperature;
				for (int k = 0; k < d; k++)
				{
					du[user[r] * d + k] += g * v[cand * d + k];
					dv[cand * d + k] += g * u[user[r] * d + k];
				}
			}
		total += log(z) - own;
	}
	return total;
}

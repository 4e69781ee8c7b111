/*
 * ials_row.c
 *		One row of implicit ALS, solved exactly or block by block.
 *
 * With w = prior + D^-1/2 z, X = C^1/2 H D^-1/2 and t = C^1/2 (1 - H q),
 * q = D^-1 lambda_u prior (zero without one), z minimises
 * |X z - t|^2 + |z|^2, and w = q + D^-1/2 z. The minimum is t.(t - X z).
 */
#include "model/ials_row.h"

#include <math.h>
#include <string.h>

#include "math/dense.h"
#include "math/hooks.h"
#include "math/vec.h"

#define ROW_BLOCK 64      /* source rows packed at a time for a d x d system */
#define FETCH_FLOATS 4096 /* of a row's source rows, fetched ahead */

static int
round16(int n)
{
	return (n + 15) / 16 * 16;
}

RsStatus
ials_row_init(IalsRow *row, const Ials *als, const IalsSide *side,
			  float *target, const float *source)
{
	size_t ld = (size_t) als->ld;
	int64_t longest = 0;
	size_t room;

	memset(row, 0, sizeof(*row));
	row->als = als;
	row->side = side;
	row->target = target;
	row->source = source;
	for (int32_t r = 0; r < side->data.n_rows; r++)
		if (side->data.end[r] - side->data.ptr[r] > longest)
			longest = side->data.end[r] - side->data.ptr[r];
	row->longest = (int) longest;
	room = (size_t) longest + 16;
	row->d_inv = math_alloc_array(ld, sizeof(float));
	row->x = math_alloc_array((ld > ROW_BLOCK ? ld : ROW_BLOCK) * (ld + 16),
							  sizeof(float));
	row->a = math_alloc_array((ld + 16) * (ld + 32), sizeof(float));
	row->t = math_alloc_array(room, sizeof(float));
	row->root = math_alloc_array(room, sizeof(float));
	row->y = math_alloc_array(room > ld ? room : ld, sizeof(float));
	row->z = math_alloc_array(ld, sizeof(float));
	row->start = math_alloc_array(ld, sizeof(float));
	if (row->d_inv == NULL || row->x == NULL || row->a == NULL ||
		row->t == NULL || row->root == NULL || row->y == NULL ||
		row->z == NULL || row->start == NULL)
	{
		ials_row_free(row);
		return RS_NO_MEMORY;
	}
	return RS_OK;
}

void
ials_row_free(IalsRow *row)
{
	math_release(row->d_inv);
	math_release(row->x);
	math_release(row->a);
	math_release(row->t);
	math_release(row->root);
	math_release(row->y);
	math_release(row->z);
	math_release(row->start);
	memset(row, 0, sizeof(*row));
}

/*
 * (X X^T + I) y = t, z = X^T y, and w gains D^-1/2 z = D^-1 H^T C^1/2 y.
 * Returns t.y, NAN when the system is not positive definite.
 */
static double
solve_narrow(IalsRow *row, const int32_t *index, int n, const float *root,
			 float *out)
{
	int ld = row->als->ld;
	int ldx = round16(n);
	int lda = round16(n + 1);
	double dot = 0;

	dense.pack_columns(row->source, ld, index, n, ld, row->d_inv, root, row->x,
					   ldx);
	for (int i = 0; i < ldx; i++)
		memset(row->a + (size_t) i * (size_t) lda, 0,
			   sizeof(float) * (size_t) lda);
	dense.gram(row->x, ld, ldx, row->a, lda);
	for (int i = 0; i < n; i++)
		row->a[(size_t) i * (size_t) lda + (size_t) i] += 1;
	memcpy(row->y, row->t, sizeof(float) * (size_t) n);
	if (!dense.solve(row->a, n, lda, row->y))
		return NAN;
	memset(row->z, 0, sizeof(float) * (size_t) ld);
	for (int i = 0; i < n; i++)
	{
		dot += (double) row->t[i] * row->y[i];
		vec_axpy(root != NULL ? row->y[i] * root[i] : row->y[i],
				 row->source + (size_t) index[i] * (size_t) ld, row->z, ld);
	}
	for (int k = 0; k < ld; k++)
		out[k] += row->d_inv[k] * row->d_inv[k] * row->z[k];
	return dot;
}

/*
 * (X^T X + I) z = X^T t, and w gains D^-1/2 z. Returns t.t - t.X z.
 */
static double
solve_wide(IalsRow *row, const int32_t *index, int n, const float *root,
		   float *out)
{
	int ld = row->als->ld;
	int lda = ld + 16;
	double dot = 0;

	memset(row->a, 0, sizeof(float) * (size_t) ld * (size_t) lda);
	memset(row->z, 0, sizeof(float) * (size_t) ld);
	for (int i = 0; i < n; i += ROW_BLOCK)
	{
		int m = n - i < ROW_BLOCK ? n - i : ROW_BLOCK;

		dense.pack_rows(row->source, ld, index + i, m, ld, row->d_inv,
						root != NULL ? root + i : NULL, row->x);
		dense.gram(row->x, m, ld, row->a, lda);
		for (int k = 0; k < m; k++)
		{
			vec_axpy(row->t[i + k], row->x + (size_t) k * (size_t) ld, row->z,
					 ld);
			dot += (double) row->t[i + k] * row->t[i + k];
		}
	}
	for (int k = 0; k < ld; k++)
		row->a[(size_t) k * (size_t) lda + (size_t) k] += 1;
	memcpy(row->y, row->z, sizeof(float) * (size_t) ld);
	if (!dense.solve(row->a, ld, lda, row->z))
		return NAN;
	for (int k = 0; k < ld; k++)
	{
		dot -= (double) row->y[k] * row->z[k];
		out[k] += row->d_inv[k] * row->z[k];
	}
	return dot;
}

/*
 * Columns from .. from+b-1 of z to their optimum given the others, t being
 * the residual t - X z before and after: (X_b^T X_b + I) step = X_b^T t - z_b.
 */
static bool
improve_block(IalsRow *row, const int32_t *index, int n, const float *root,
			  int from, int b)
{
	int ld = row->als->ld;
	int lda = b + 16;
	const float *source = row->source + from;
	float *step = row->y;

	memset(row->a, 0, sizeof(float) * (size_t) b * (size_t) lda);
	for (int k = 0; k < b; k++)
		step[k] = -row->z[from + k];
	for (int i = 0; i < n; i += ROW_BLOCK)
	{
		int m = n - i < ROW_BLOCK ? n - i : ROW_BLOCK;

		dense.pack_rows(source, ld, index + i, m, b, row->d_inv + from,
						root != NULL ? root + i : NULL, row->x);
		dense.gram(row->x, m, b, row->a, lda);
		for (int k = 0; k < m; k++)
			vec_axpy(row->t[i + k], row->x + (size_t) k * (size_t) b, step, b);
	}
	for (int k = 0; k < b; k++)
		row->a[(size_t) k * (size_t) lda + (size_t) k] += 1;
	if (!dense.solve(row->a, b, lda, step))
		return false;
	for (int k = 0; k < b; k++)
	{
		row->z[from + k] += step[k];
		step[k] *= row->d_inv[from + k];
	}
	for (int i = 0; i < n; i++)
		row->t[i] -= (root != NULL ? root[i] : 1) *
					 vec_dot(step, source + (size_t) index[i] * (size_t) ld, b);
	return true;
}

/*
 * All blocks once, from the row as it was (row->start); out is q and gains
 * D^-1/2 z. Returns |X z - t|^2 + |z|^2.
 */
static double
solve_blocks(IalsRow *row, const int32_t *index, int n, const float *root,
			 float *out)
{
	int ld = row->als->ld;
	int block = row->als->config.block;
	double loss = 0;

	for (int k = 0; k < ld; k++)
	{
		row->start[k] -= out[k];
		row->z[k] = row->start[k] / row->d_inv[k];
	}
	for (int i = 0; i < n; i++)
		row->t[i] -= (root != NULL ? root[i] : 1) *
					 vec_dot(row->start,
							 row->source + (size_t) index[i] * (size_t) ld, ld);
	for (int from = 0; from < ld; from += block)
		if (!improve_block(row, index, n, root, from,
						   ld - from < block ? ld - from : block))
			return NAN;
	for (int i = 0; i < n; i++)
		loss += (double) row->t[i] * row->t[i];
	for (int k = 0; k < ld; k++)
	{
		loss += (double) row->z[k] * row->z[k];
		out[k] += row->d_inv[k] * row->z[k];
	}
	return loss;
}

/* what row r is pulled to, NULL for zero */
static const float *
prior_of(const IalsRow *row, int32_t r)
{
	const IalsSide *side = row->side;

	if (side->prior == NULL || side->one_prior)
		return side->prior;
	return side->prior + (size_t) r * (size_t) row->als->ld;
}

/* D^-1/2 of row r, and q = lambda D^-1 prior into out (zero without) */
static void
scale_of(IalsRow *row, int32_t r, int64_t n, float *restrict out)
{
	const IalsConfig *c = &row->als->config;
	const float *prior = prior_of(row, r);
	const float *restrict spectrum = row->als->spectrum;
	float *restrict d_inv = row->d_inv;
	int ld = row->als->ld;
	float alpha0 = row->side->row_zeros != NULL
					   ? c->alpha0 * row->side->row_zeros[r]
					   : c->alpha0;
	double size = (double) n + (double) alpha0 * row->side->data.n_cols;
	float lambda = (float) (c->lambda * (c->nu == 1 ? size : pow(size, c->nu)));

	for (int k = 0; k < ld; k++)
	{
		float d = alpha0 * spectrum[k] + lambda;

		d_inv[k] = 1 / sqrtf(d);
		out[k] = lambda / d;
	}
	for (int k = 0; k < ld; k++)
		out[k] = prior != NULL ? out[k] * prior[k] : 0;
}

void
ials_row_fetch(const IalsRow *row, int32_t r)
{
	const DatasetSide *data = &row->side->data;
	int64_t end = data->end[r];
	int ld = row->als->ld;

	if (end > data->ptr[r] + FETCH_FLOATS / ld)
		end = data->ptr[r] + FETCH_FLOATS / ld;
	for (int64_t i = data->ptr[r]; i < end; i++)
		for (int k = 0; k < ld; k += 16)
			__builtin_prefetch(row->source +
							   (size_t) data->index[i] * (size_t) ld + k);
}

double
ials_row_solve(IalsRow *row, int32_t r)
{
	const DatasetSide *data = &row->side->data;
	int ld = row->als->ld;
	int n = (int) (data->end[r] - data->ptr[r]);
	const int32_t *index = data->index + data->ptr[r];
	const float *weight = row->side->weight;
	float *out = row->target + (size_t) r * (size_t) ld;
	float *root = weight != NULL ? row->root : NULL;

	memcpy(row->start, out, sizeof(float) * (size_t) ld);
	scale_of(row, r, n, out);
	if (n <= 0)
	{
		/*
		 * Nobody has had a chance to choose it, so the zeros of alpha0 say
		 * nothing about it: the prior itself.
		 */
		if (row->side->prior != NULL)
			memcpy(out, prior_of(row, r), sizeof(float) * (size_t) ld);
		return 0;
	}
	for (int i = 0; i < n; i++)
	{
		row->t[i] = 1;
		if (row->side->prior != NULL)
			row->t[i] -=
				vec_dot(out, row->source + (size_t) index[i] * (size_t) ld, ld);
		if (root != NULL)
		{
			root[i] = sqrtf(weight[data->ptr[r] + i]);
			row->t[i] *= root[i];
		}
	}
	/* a shorter row's exact solution costs about as little */
	if (row->als->config.block > 0 && n >= 2 * row->als->config.block)
		return solve_blocks(row, index, n, root, out);
	return n < row->als->config.dim ? solve_narrow(row, index, n, root, out)
									: solve_wide(row, index, n, root, out);
}

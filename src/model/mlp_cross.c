/*
 * mlp_cross.c
 *		Cross layers of the rating network: forward and backward.
 */
#include <string.h>

#include "math/blas.h"
#include "math/vec.h"
#include "model/mlp.h"

void
mlp_cross_forward(const Mlp *mlp, const float *params, int n, float *x,
				  float *product)
{
	int in = mlp->width[0];
	size_t cells = (size_t) n * (size_t) in;

	for (int l = 0; l < mlp->n_cross; l++)
	{
		const float *bias = params + mlp->cross_bias[l];
		const float *from = x + (size_t) l * cells;
		float *to = x + (size_t) (l + 1) * cells;
		float *p = product + (size_t) l * cells;

		blas.sgemm(false, false, n, in, in, 1, from, in,
				   params + mlp->cross_kernel[l], in, 0, p, in);
		for (int r = 0; r < n; r++)
			vec_axpy(1, bias, p + (size_t) r * (size_t) in, in);
		for (size_t k = 0; k < cells; k++)
			to[k] = x[k] * p[k] + from[k];
	}
}

/*
 * g (n, in): in, the gradient by x[l + 1]; out, that by x[l]. by_first (n, in)
 * += the gradient by x[0] of the product with it. work (n, in)
 */
static void
layer_backward(const Mlp *mlp, const float *params, int n, int l,
			   const float *x, const float *product, float *g, float *by_first,
			   float *grad, float *work)
{
	int in = mlp->width[0];
	size_t cells = (size_t) n * (size_t) in;
	float *bias = grad + mlp->cross_bias[l];

	for (size_t k = 0; k < cells; k++)
	{
		by_first[k] += g[k] * product[(size_t) l * cells + k];
		work[k] = g[k] * x[k];
	}
	blas.sgemm(true, false, in, in, n, 1, x + (size_t) l * cells, in, work, in,
			   0, grad + mlp->cross_kernel[l], in);
	memset(bias, 0, sizeof(float) * (size_t) in);
	for (int r = 0; r < n; r++)
		vec_axpy(1, work + (size_t) r * (size_t) in, bias, in);
	blas.sgemm(false, true, n, in, in, 1, work, in,
			   params + mlp->cross_kernel[l], in, 1, g, in);
}

double
mlp_cross_tile(const Mlp *mlp, const float *params, int n, float *x,
			   const float *y, float scale, float *grad, float *scratch)
{
	int in = mlp->width[0];
	int h1 = mlp->width[1];
	size_t cells = (size_t) n * (size_t) in;
	float *all = scratch; /* x[0] .. x[n_cross] */
	float *product = all + (size_t) (mlp->n_cross + 1) * cells;
	float *g = product + (size_t) mlp->n_cross * cells;
	float *work = g + cells;
	float *z0 = work + cells;
	const float *last = all + (size_t) mlp->n_cross * cells;
	double loss;

	memcpy(all, x, sizeof(float) * cells);
	mlp_cross_forward(mlp, params, n, all, product);
	blas.sgemm(false, false, n, h1, in, 1, last, in, params + mlp->kernel[0],
			   h1, 0, z0, h1);
	loss = mlp_tile(mlp, params, n, z0, y, scale, grad,
					z0 + (size_t) n * (size_t) h1);
	blas.sgemm(true, false, in, h1, n, 1, last, in, z0, h1, 0,
			   grad + mlp->kernel[0], h1);
	blas.sgemm(false, true, n, in, h1, 1, z0, h1, params + mlp->kernel[0], h1,
			   0, g, in);
	memset(x, 0, sizeof(float) * cells);
	for (int l = mlp->n_cross - 1; l >= 0; l--)
		layer_backward(mlp, params, n, l, all, product, g, x, grad, work);
	vec_axpy(1, g, x, (int) cells);
	return loss;
}

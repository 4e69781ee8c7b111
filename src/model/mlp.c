/*
 * mlp.c
 *		Layers of the rating network: forward and backward over a tile of rows.
 */
#include "model/mlp.h"

#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/rng.h"

void
mlp_init(Mlp *mlp, int in, const int *hidden, int n_hidden, int n_cross,
		 bool binary)
{
	size_t at = 0;

	memset(mlp, 0, sizeof(*mlp));
	mlp->binary = binary;
	mlp->n_layers = n_hidden + 1;
	mlp->width[0] = in;
	for (int l = 0; l < n_hidden; l++)
		mlp->width[l + 1] = hidden[l];
	mlp->width[mlp->n_layers] = 1;
	for (int l = 0; l < mlp->n_layers; l++)
	{
		mlp->kernel[l] = at;
		at += (size_t) mlp->width[l] * (size_t) mlp->width[l + 1];
		mlp->bias[l] = at;
		at += (size_t) mlp->width[l + 1];
	}
	mlp->n_cross = n_cross > 0 ? n_cross : 0;
	for (int l = 0; l < mlp->n_cross; l++)
	{
		mlp->cross_kernel[l] = at;
		at += (size_t) in * (size_t) in;
		mlp->cross_bias[l] = at;
		at += (size_t) in;
	}
	mlp->n_params = at;
	mlp->tail = mlp->n_cross > 0 ? 0 : mlp->bias[0];
}

void
mlp_init_params(const Mlp *mlp, uint64_t seed, float *params)
{
	Rng rng;

	memset(params, 0, sizeof(float) * mlp->n_params);
	for (int l = 0; l < mlp->n_layers; l++)
	{
		int in = mlp->width[l];
		int out = mlp->width[l + 1];
		double limit = sqrt(6.0 / (in + out));

		rng_init(&rng, seed, (uint64_t) l + 16);
		for (size_t k = 0; k < (size_t) in * (size_t) out; k++)
			params[mlp->kernel[l] + k] =
				(float) ((2 * rng_uniform(&rng) - 1) * limit);
	}
	for (int l = 0; l < mlp->n_cross; l++)
	{
		size_t in = (size_t) mlp->width[0];

		rng_init(&rng, seed, (uint64_t) l + 48);
		for (size_t k = 0; k < in * in; k++)
		{
			double x = rng_normal(&rng);

			while (fabs(x) > 2)
				x = rng_normal(&rng);
			params[mlp->cross_kernel[l] + k] = (float) (0.05 * x);
		}
	}
}

size_t
mlp_scratch(const Mlp *mlp, int n)
{
	size_t floats = 0;

	for (int l = 1; l <= mlp->n_layers; l++)
		floats += 2 * (size_t) mlp->width[l];
	/* x[0..n_cross], products, two gradients, z0 */
	if (mlp->n_cross > 0)
		floats += (size_t) (2 * mlp->n_cross + 3) * (size_t) mlp->width[0] +
				  (size_t) mlp->width[1];
	return floats * (size_t) n;
}

/* x (n, w) += bias, then relu unless it is the last layer */
static void
add_bias(float *x, int n, int w, const float *bias, bool relu)
{
	for (int r = 0; r < n; r++)
	{
		float *row = x + (size_t) r * (size_t) w;

		if (relu)
			for (int j = 0; j < w; j++)
			{
				float v = row[j] + bias[j];

				row[j] = v > 0 ? v : 0;
			}
		else
			for (int j = 0; j < w; j++)
				row[j] += bias[j];
	}
}

/* sums of the columns of x (n, w) */
static void
column_sums(const float *x, int n, int w, float *sum)
{
	memset(sum, 0, sizeof(float) * (size_t) w);
	for (int r = 0; r < n; r++)
	{
		const float *row = x + (size_t) r * (size_t) w;

		for (int j = 0; j < w; j++)
			sum[j] += row[j];
	}
}

/* act[l] (n, width[l + 1]) from act[0], which holds the first layer's sums */
static void
forward(const Mlp *mlp, const float *params, int n, float **act)
{
	add_bias(act[0], n, mlp->width[1], params + mlp->bias[0],
			 mlp->n_layers > 1);
	for (int l = 1; l < mlp->n_layers; l++)
	{
		int in = mlp->width[l];
		int out = mlp->width[l + 1];

		blas.sgemm(false, false, n, out, in, 1, act[l - 1], in,
				   params + mlp->kernel[l], out, 0, act[l], out);
		add_bias(act[l], n, out, params + mlp->bias[l], l + 1 < mlp->n_layers);
	}
}

/* delta (n) = scale * derivative of the loss by the output */
static double
loss_backward(const Mlp *mlp, int n, const float *out, const float *y,
			  float scale, float *delta)
{
	double loss = 0;

	for (int r = 0; r < n; r++)
	{
		if (mlp->binary)
		{
			/* log(1 + e^x) - y x, without overflow */
			float x = out[r];
			float e = expf(-fabsf(x));
			float p = x >= 0 ? 1 / (1 + e) : e / (1 + e);

			loss += (x > 0 ? x : 0) + log1pf(e) - y[r] * x;
			delta[r] = scale * (p - y[r]);
		}
		else
		{
			float e = out[r] - y[r];

			loss += (double) e * e;
			delta[r] = 2 * scale * e;
		}
	}
	return loss;
}

double
mlp_tile(const Mlp *mlp, const float *params, int n, float *z0, const float *y,
		 float scale, float *grad, float *scratch)
{
	float *act[MLP_MAX_LAYERS];
	float *delta;
	float *next;
	int last = mlp->n_layers - 1;
	double loss;

	act[0] = z0;
	for (int l = 1; l < mlp->n_layers; l++)
	{
		act[l] = scratch;
		scratch += (size_t) n * (size_t) mlp->width[l + 1];
	}
	forward(mlp, params, n, act);
	delta = scratch;
	loss = loss_backward(mlp, n, act[last], y, scale, delta);
	for (int l = last; l > 0; l--)
	{
		int in = mlp->width[l];
		int out = mlp->width[l + 1];
		size_t cells = (size_t) n * (size_t) in;

		blas.sgemm(true, false, in, out, n, 1, act[l - 1], in, delta, out, 0,
				   grad + (mlp->kernel[l] - mlp->tail), out);
		column_sums(delta, n, out, grad + (mlp->bias[l] - mlp->tail));
		next = delta + (size_t) n * (size_t) out;
		blas.sgemm(false, true, n, in, out, 1, delta, out,
				   params + mlp->kernel[l], out, 0, next, in);
		for (size_t k = 0; k < cells; k++)
			next[k] = act[l - 1][k] > 0 ? next[k] : 0;
		delta = next;
	}
	column_sums(delta, n, mlp->width[1], grad + (mlp->bias[0] - mlp->tail));
	memcpy(z0, delta, sizeof(float) * (size_t) n * (size_t) mlp->width[1]);
	return loss;
}

void
mlp_forward(const Mlp *mlp, const float *params, int n, const float *x,
			float *out, float *scratch)
{
	float *act[MLP_MAX_LAYERS];
	size_t cells = (size_t) n * (size_t) mlp->width[0];

	if (mlp->n_cross > 0)
	{
		memcpy(scratch, x, sizeof(float) * cells);
		mlp_cross_forward(mlp, params, n, scratch,
						  scratch + (size_t) (mlp->n_cross + 1) * cells);
		x = scratch + (size_t) mlp->n_cross * cells;
		scratch += (size_t) (2 * mlp->n_cross + 1) * cells;
	}
	for (int l = 0; l < mlp->n_layers; l++)
	{
		act[l] = scratch;
		scratch += (size_t) n * (size_t) mlp->width[l + 1];
	}
	blas.sgemm(false, false, n, mlp->width[1], mlp->width[0], 1, x,
			   mlp->width[0], params + mlp->kernel[0], mlp->width[1], 0, act[0],
			   mlp->width[1]);
	forward(mlp, params, n, act);
	memcpy(out, act[mlp->n_layers - 1], sizeof(float) * (size_t) n);
}

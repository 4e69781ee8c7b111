/*
 * tower.c
 *		The hidden layers of a tower: forward and backward.
 */
#include "model/tower.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/blas.h"
#include "math/rng.h"
#include "math/vec.h"

void
tower_init(Tower *t, int dim, const int *hidden, int n_hidden)
{
	memset(t, 0, sizeof(*t));
	t->n_layers = n_hidden + 1;
	t->width[0] = dim;
	for (int l = 0; l < n_hidden; l++)
	{
		t->width[l + 1] = hidden[l];
		t->n_acts += (size_t) hidden[l];
	}
	t->width[t->n_layers] = dim;
	for (int l = 0; l < t->n_layers; l++)
	{
		t->kernel[l] = t->n_params;
		t->bias[l] =
			t->kernel[l] + (size_t) t->width[l] * (size_t) t->width[l + 1];
		t->n_params = t->bias[l] + (size_t) t->width[l + 1];
	}
}

void
tower_init_params(const Tower *t, uint64_t seed, float *params)
{
	Rng rng;

	memset(params, 0, sizeof(float) * t->n_params);
	rng_init(&rng, seed, 0);
	for (int l = 0; l + 1 < t->n_layers; l++)
	{
		double limit = sqrt(6.0 / (t->width[l] + t->width[l + 1]));

		for (size_t k = t->kernel[l]; k < t->bias[l]; k++)
			params[k] = (float) ((2 * rng_uniform(&rng) - 1) * limit);
	}
}

/* where the activations of layer l's output begin; the last has none */
static float *
acts_of(const Tower *t, float *acts, int n, int l)
{
	for (int k = 0; k < l; k++)
		acts += (size_t) n * (size_t) t->width[k + 1];
	return acts;
}

void
tower_forward(const Tower *t, const float *params, int n, const float *x,
			  float *acts, float *y)
{
	const float *in = x;

	for (int l = 0; l < t->n_layers; l++)
	{
		int from = t->width[l];
		int to = t->width[l + 1];
		bool last = l + 1 == t->n_layers;
		float *out = last ? y : acts_of(t, acts, n, l);
		const float *bias = params + t->bias[l];

		for (int r = 0; r < n; r++)
			for (int j = 0; j < to; j++)
				out[(size_t) r * (size_t) to + (size_t) j] =
					bias[j] +
					(last ? x[(size_t) r * (size_t) to + (size_t) j] : 0);
		blas.sgemm(false, false, n, to, from, 1, in, from,
				   params + t->kernel[l], to, 1, out, to);
		for (size_t k = 0; !last && k < (size_t) n * (size_t) to; k++)
			out[k] = out[k] > 0 ? out[k] : 0;
		in = out;
	}
}

void
tower_backward(const Tower *t, const float *params, int n, const float *x,
			   float *acts, const float *dy, float *grad, float *dx)
{
	const float *up = dy;

	for (int l = t->n_layers - 1; l >= 0; l--)
	{
		int from = t->width[l];
		int to = t->width[l + 1];
		float *in = l > 0 ? acts_of(t, acts, n, l - 1) : NULL;
		float *down;
		float *bias = grad + t->bias[l];

		memset(bias, 0, sizeof(float) * (size_t) to);
		for (int r = 0; r < n; r++)
			for (int j = 0; j < to; j++)
				bias[j] += up[(size_t) r * (size_t) to + (size_t) j];
		blas.sgemm(true, false, from, to, n, 1, l > 0 ? in : x, from, up, to, 0,
				   grad + t->kernel[l], to);
		if (l == 0)
		{
			/* dx = dy + up W^T */
			memcpy(dx, dy, sizeof(float) * (size_t) n * (size_t) from);
			blas.sgemm(false, true, n, from, to, 1, up, to,
					   params + t->kernel[0], to, 1, dx, from);
			break;
		}
		down = acts_of(t, acts + t->n_acts * (size_t) n, n, l - 1);
		blas.sgemm(false, true, n, from, to, 1, up, to, params + t->kernel[l],
				   to, 0, down, from);
		for (size_t k = 0; k < (size_t) n * (size_t) from; k++)
			down[k] = in[k] > 0 ? down[k] : 0;
		up = down;
	}
}

/* ---- from a model's parameters ---- */

static const PredictParam *
find_layer(const PredictParam *params, int n, const char *side,
		   const char *what, int layer)
{
	char name[40];

	snprintf(name, sizeof(name), "%s_%s_%d", side, what, layer);
	for (int i = 0; i < n; i++)
		if (strcmp(params[i].name, name) == 0)
			return &params[i];
	return NULL;
}

size_t
tower_scratch(const PredictParam *params, int n, int dim)
{
	size_t widest = (size_t) dim;

	for (int i = 0; i < n; i++)
		if (params[i].ndim == 1 && (size_t) params[i].shape[0] > widest)
			widest = (size_t) params[i].shape[0];
	return 2 * widest;
}

/* y (out) = x kernel + bias, cut off below zero when relu */
static void
apply_layer(const PredictParam *kernel, const PredictParam *bias, bool relu,
			const float *x, float *y)
{
	int out = kernel->shape[1];

	memcpy(y, bias->data, sizeof(float) * (size_t) out);
	for (int i = 0; i < kernel->shape[0]; i++)
		vec_axpy(x[i], kernel->data + (size_t) i * (size_t) out, y, out);
	for (int j = 0; relu && j < out; j++)
		y[j] = y[j] > 0 ? y[j] : 0;
}

RsStatus
tower_apply(const PredictParam *params, int n, const char *side, int dim,
			float *x, float *scratch)
{
	size_t half = tower_scratch(params, n, dim) / 2;
	const float *in = x;
	int width = dim;
	float length;

	if (find_layer(params, n, side, "kernel", 0) == NULL)
		return RS_OK;
	for (int l = 0;; l++)
	{
		const PredictParam *kernel = find_layer(params, n, side, "kernel", l);
		const PredictParam *bias = find_layer(params, n, side, "bias", l);
		float *out = scratch + (size_t) (l % 2) * half;
		bool last = find_layer(params, n, side, "kernel", l + 1) == NULL;

		if (kernel == NULL || bias == NULL || kernel->ndim != 2 ||
			bias->ndim != 1 || kernel->shape[0] != width ||
			kernel->shape[1] != bias->shape[0] ||
			(last && kernel->shape[1] != dim))
			return RS_INVALID;
		apply_layer(kernel, bias, !last, in, out);
		in = out;
		width = kernel->shape[1];
		if (last)
			break;
	}
	vec_axpy(1, in, x, dim);
	length = sqrtf(vec_dot(x, x, dim)) + 1e-12f;
	for (int k = 0; k < dim; k++)
		x[k] /= length;
	return RS_OK;
}

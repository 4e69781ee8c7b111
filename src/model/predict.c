/*
 * predict.c
 *		Predicted ratings from stored ranking vectors and parameters.
 */
#include "model/predict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/vec.h"

static const PredictParam *
find_param(const PredictParam *params, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(params[i].name, name) == 0)
			return &params[i];
	return NULL;
}

static const PredictParam *
find_numbered(const PredictParam *params, int n, const char *prefix, int number)
{
	char name[40];

	snprintf(name, sizeof(name), "%s_%d", prefix, number);
	return find_param(params, n, name);
}

/* finite values in a one-dimensional array of n elements */
static bool
is_vector(const PredictParam *q, int n)
{
	if (q->ndim != 1 || q->shape[0] != n)
		return false;
	for (int i = 0; i < n; i++)
		if (!isfinite(q->data[i]))
			return false;
	return true;
}

static bool
is_rising(const float *x, int n)
{
	for (int i = 1; i < n; i++)
		if (!(x[i] >= x[i - 1]))
			return false;
	return true;
}

static const char *
init_means(Predictor *p, const PredictParam *params, int n)
{
	const PredictParam *q = find_param(params, n, "user_mean");

	if (q != NULL && !is_vector(q, p->user_dim))
		return "user_mean has a wrong shape";
	p->user_mean = q != NULL ? q->data : NULL;
	q = find_param(params, n, "item_mean");
	if (q != NULL && !is_vector(q, p->item_dim))
		return "item_mean has a wrong shape";
	p->item_mean = q != NULL ? q->data : NULL;
	return NULL;
}

static const char *
init_range(Predictor *p, const PredictParam *params, int n)
{
	const PredictParam *q = find_param(params, n, "clamp");

	p->low = -INFINITY;
	p->high = INFINITY;
	if (q != NULL)
	{
		if (!is_vector(q, 2) || !is_rising(q->data, 2))
			return "clamp is not a range of two values";
		p->low = q->data[0];
		p->high = q->data[1];
	}
	q = find_param(params, n, "logistic");
	if (q != NULL && !is_vector(q, 1))
		return "logistic is not one value";
	p->logistic = q != NULL && q->data[0] != 0;
	return NULL;
}

static const char *
init_ordinal(Predictor *p, const PredictParam *params, int n)
{
	const PredictParam *cuts = find_param(params, n, "cutpoints");
	const PredictParam *levels = find_param(params, n, "levels");
	const PredictParam *variance = find_param(params, n, "variance");
	const PredictParam *q;

	q = find_param(params, n, "noise");
	if (q != NULL &&
		(!is_vector(q, 1) || p->kind != RANKING_FACTOR || p->user_dim < 2))
		return "noise is not one value of a factor model";
	p->noise = q != NULL && q->data[0] != 0;
	if (cuts == NULL && levels == NULL)
		return NULL;
	if (cuts == NULL || levels == NULL || levels->ndim != 1 ||
		levels->shape[0] < 2 || !is_vector(levels, levels->shape[0]) ||
		!is_vector(cuts, levels->shape[0] - 1))
		return "cutpoints and levels do not fit together";
	if (!is_rising(levels->data, levels->shape[0]) ||
		!is_rising(cuts->data, cuts->shape[0]))
		return "cutpoints or levels do not rise";
	if (variance != NULL)
	{
		if (!is_vector(variance, 1) || variance->data[0] < 0)
			return "variance is not one positive value";
		p->variance = variance->data[0];
	}
	p->n_levels = levels->shape[0];
	p->levels = levels->data;
	p->cutpoints = cuts->data;
	return NULL;
}

/* layer number `number` of the given kernel and bias names, input width in */
static const char *
init_layer(PredictLayer *layer, const PredictParam *params, int n,
		   const char *kernel, const char *bias, int number, int in)
{
	const PredictParam *k = find_numbered(params, n, kernel, number);
	const PredictParam *b = find_numbered(params, n, bias, number);

	if (k == NULL || b == NULL || k->ndim != 2 || k->shape[0] != in ||
		k->shape[1] < 1 || b->ndim != 1 || b->shape[0] != k->shape[1])
		return "layers do not fit together";
	layer->in = in;
	layer->out = k->shape[1];
	layer->kernel = k->data;
	layer->bias = b->data;
	return NULL;
}

static const char *
init_mlp(Predictor *p, const PredictParam *params, int n)
{
	int in = p->user_dim + p->item_dim;
	const char *wrong;

	while (find_numbered(params, n, "cross_kernel", p->n_cross) != NULL)
	{
		if (p->n_cross == PREDICT_MAX_CROSS)
			return "too many cross layers";
		wrong = init_layer(&p->cross[p->n_cross], params, n, "cross_kernel",
						   "cross_bias", p->n_cross, in);
		if (wrong != NULL)
			return wrong;
		if (p->cross[p->n_cross].out != in)
			return "a cross layer is not square";
		p->n_cross++;
	}
	while (find_numbered(params, n, "kernel", p->n_layers) != NULL)
	{
		if (p->n_layers == PREDICT_MAX_LAYERS)
			return "too many layers";
		wrong = init_layer(&p->layers[p->n_layers], params, n, "kernel", "bias",
						   p->n_layers, in);
		if (wrong != NULL)
			return wrong;
		in = p->layers[p->n_layers].out;
		p->n_layers++;
	}
	if (p->n_layers == 0 || in != 1)
		return "the last layer does not give one value";
	return NULL;
}

RsStatus
predict_init(Predictor *p, JobRanking kind, int user_dim, int item_dim,
			 const PredictParam *params, int n_params, const char **problem)
{
	const char *wrong = NULL;

	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->user_dim = user_dim;
	p->item_dim = item_dim;
	if (user_dim < 1 || item_dim < 1 || user_dim > INT32_MAX / 4 ||
		item_dim > INT32_MAX / 4)
		wrong = "vectors have no dimensions";
	else if (kind == RANKING_FACTOR && user_dim != item_dim)
		wrong = "user and item vectors differ in dimension";
	else if (kind != RANKING_FACTOR && kind != RANKING_MLP)
		wrong = "unknown kind of ranking model";
	if (wrong == NULL)
		wrong = init_range(p, params, n_params);
	if (wrong == NULL)
		wrong = init_means(p, params, n_params);
	if (wrong == NULL)
		wrong = init_ordinal(p, params, n_params);
	if (wrong == NULL && kind == RANKING_MLP)
		wrong = init_mlp(p, params, n_params);
	if (problem != NULL)
		*problem = wrong;
	return wrong == NULL ? RS_OK : RS_INVALID;
}

int
predict_params_of_job(const JobShared *job, PredictParam *params)
{
	const JobOutput *out = &job->output;

	for (int i = 0; i < out->n_params; i++)
	{
		params[i].name = out->params[i].name;
		params[i].ndim = out->params[i].ndim;
		memcpy(params[i].shape, out->params[i].shape, sizeof(params[i].shape));
		params[i].data = job_at(job, out->params[i].data);
	}
	return out->n_params;
}

size_t
predict_scratch(const Predictor *p)
{
	size_t widest = (size_t) p->user_dim + (size_t) p->item_dim;

	for (int l = 0; l < p->n_layers; l++)
		if ((size_t) p->layers[l].out > widest)
			widest = (size_t) p->layers[l].out;
	return p->kind == RANKING_MLP ? 3 * widest : 0;
}

float
predict_link(const Predictor *p, float score, float noise)
{
	float y = score;
	float spread;

	if (p->n_levels > 0)
	{
		/* written so that a NaN or nonsense from a table becomes 1 */
		spread = noise + p->variance > 1e-12f ? noise + p->variance : 1;
		spread = (float) M_SQRT1_2 / sqrtf(spread);
		y = p->levels[0];
		for (int j = 0; j + 1 < p->n_levels; j++)
			y += (p->levels[j + 1] - p->levels[j]) * 0.5f *
				 erfcf((p->cutpoints[j] - score) * spread);
	}
	if (p->logistic)
		y = 1 / (1 + expf(-y));
	/* written so that NaN becomes the low end */
	if (!(y >= p->low))
		y = p->low;
	if (y > p->high)
		y = p->high;
	return isfinite(y) ? y : 0;
}

/* y (out) = x W + b */
static void
dense(const PredictLayer *layer, const float *x, float *y)
{
	for (int j = 0; j < layer->out; j++)
		y[j] = layer->bias[j];
	for (int i = 0; i < layer->in; i++)
	{
		const float *row = layer->kernel + (size_t) i * (size_t) layer->out;
		float xi = x[i];

		if (xi == 0)
			continue;
		for (int j = 0; j < layer->out; j++)
			y[j] += xi * row[j];
	}
}

static float
mlp_score(const Predictor *p, const float *user, const float *item,
		  float *scratch)
{
	size_t width = predict_scratch(p) / 3;
	int in = p->user_dim + p->item_dim;
	float *x0 = scratch;
	float *x = scratch + width;
	float *y = scratch + 2 * width;

	memcpy(x0, user, sizeof(float) * (size_t) p->user_dim);
	memcpy(x0 + p->user_dim, item, sizeof(float) * (size_t) p->item_dim);
	memcpy(x, x0, sizeof(float) * (size_t) in);
	for (int l = 0; l < p->n_cross; l++)
	{
		dense(&p->cross[l], x, y);
		for (int i = 0; i < in; i++)
			x[i] += x0[i] * y[i];
	}
	for (int l = 0; l < p->n_layers; l++)
	{
		float *swap = x;

		dense(&p->layers[l], x, y);
		if (l + 1 < p->n_layers)
			for (int j = 0; j < p->layers[l].out; j++)
				y[j] = y[j] > 0 ? y[j] : 0;
		x = y;
		y = swap;
	}
	return x[0];
}

float
predict_one(const Predictor *p, const float *user, const float *item,
			float *scratch)
{
	int last = p->user_dim - 1;

	if (p->kind == RANKING_MLP)
		return predict_link(p, mlp_score(p, user, item, scratch), 1);
	if (p->noise)
		return predict_link(p, vec_dot(user, item, last),
							user[last] * item[last]);
	return predict_link(p, vec_dot(user, item, p->user_dim), 1);
}

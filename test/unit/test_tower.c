/*
 * test_tower.c
 *		The hidden layers of a tower: gradients against finite differences.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "math/rng.h"
#include "model/tower.h"

#define N 5
#define DIM 4

static float x[N * DIM];
static float weight[N * DIM]; /* the loss is weight . y */
static float params[4096];

static double
loss(const Tower *t)
{
	static float acts[N * 4096];
	float y[N * DIM];
	double sum = 0;

	tower_forward(t, params, N, x, acts, y);
	for (int k = 0; k < N * DIM; k++)
		sum += (double) weight[k] * y[k];
	return sum;
}

static void
check_gradient(const Tower *t, float *at, float gradient)
{
	const float step = 1e-2f;
	float before = *at;
	double up;
	double down;

	*at = before + step;
	up = loss(t);
	*at = before - step;
	down = loss(t);
	*at = before;
	CHECK(fabs((up - down) / (2 * step) - (double) gradient) <
		  2e-2 * (1 + fabs((double) gradient)));
}

static void
test_gradients(const int *hidden, int n_hidden)
{
	static float acts[N * 4096];
	static float grad[4096];
	float y[N * DIM];
	float dx[N * DIM];
	Tower t;
	Rng rng;

	tower_init(&t, DIM, hidden, n_hidden);
	CHECK(t.n_params < 4096);
	tower_init_params(&t, 3, params);
	rng_init(&rng, 11, 0);
	for (int k = 0; k < N * DIM; k++)
	{
		x[k] = (float) rng_normal(&rng);
		weight[k] = (float) rng_normal(&rng);
	}
	/* at the start the layers add nothing */
	tower_forward(&t, params, N, x, acts, y);
	for (int k = 0; k < N * DIM; k++)
		CHECK(y[k] == x[k]);
	for (size_t k = 0; k < t.n_params; k++)
		params[k] += 0.3f * (float) rng_normal(&rng);
	tower_forward(&t, params, N, x, acts, y);
	tower_backward(&t, params, N, x, acts, weight, grad, dx);
	for (size_t k = 0; k < t.n_params; k++)
		check_gradient(&t, &params[k], grad[k]);
	for (int k = 0; k < N * DIM; k++)
		check_gradient(&t, &x[k], dx[k]);
}

/* a model's parameters give what the training's network gives */
static void
test_apply(void)
{
	static const int hidden[2] = {7, 5};
	static float acts[N * 4096];
	PredictParam p[6];
	char name[6][40];
	float scratch[64];
	float y[N * DIM];
	Tower t;
	double length = 0;

	tower_init(&t, DIM, hidden, 2);
	for (int l = 0; l < 3; l++)
	{
		snprintf(name[2 * l], 40, "item_kernel_%d", l);
		snprintf(name[2 * l + 1], 40, "item_bias_%d", l);
		p[2 * l] = (PredictParam){
			name[2 * l], 2, {t.width[l], t.width[l + 1]}, params + t.kernel[l]};
		p[2 * l + 1] = (PredictParam){
			name[2 * l + 1], 1, {t.width[l + 1]}, params + t.bias[l]};
	}
	tower_forward(&t, params, N, x, acts, y);
	for (int k = 0; k < DIM; k++)
		length += y[k] * y[k];
	CHECK(tower_scratch(p, 6, DIM) <= 64);
	CHECK(tower_apply(p, 6, "user", DIM, x, scratch) == RS_OK);
	CHECK(tower_apply(p, 5, "item", DIM, x, scratch) == RS_INVALID);
	CHECK(tower_apply(p, 4, "item", DIM, x, scratch) == RS_INVALID);
	CHECK(tower_apply(p, 6, "item", DIM + 1, x, scratch) == RS_INVALID);
	CHECK(tower_apply(p, 6, "item", DIM, x, scratch) == RS_OK);
	for (int k = 0; k < DIM; k++)
		CHECK(fabs(x[k] - y[k] / sqrt(length)) < 1e-4);
}

int
main(void)
{
	static const int hidden[3] = {7, 5, 6};

	for (int n = 0; n <= 3; n++)
		test_gradients(hidden, n);
	test_apply();
	return check_summary();
}

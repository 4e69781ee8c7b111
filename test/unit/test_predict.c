/*
 * test_predict.c
 *		Predictions from vectors and parameters, and parameters that lie.
 */
#include "check.h"

#include <math.h>
#include <string.h>

#include "model/predict.h"

static const float levels[5] = {1, 2, 3, 4, 5};
static const float cuts[4] = {-1.5f, -0.5f, 0.4f, 1.6f};
static const float one[1] = {1};

static void
test_factor(void)
{
	static const float range[2] = {1, 5};
	static const float u[3] = {1, 2, 1};
	static const float v[3] = {0.5f, 0.25f, 2};
	static const float far[3] = {100, 0, 0};
	PredictParam p[2] = {{"clamp", 1, {2}, range}, {"user_mean", 1, {3}, u}};
	Predictor x;

	CHECK(predict_init(&x, RANKING_FACTOR, 3, 3, p, 2, NULL) == RS_OK);
	CHECK(predict_scratch(&x) == 0);
	CHECK(predict_one(&x, u, v, NULL) == 3);
	CHECK(predict_one(&x, u, far, NULL) == 5);
	CHECK(x.user_mean == u && x.item_mean == NULL);
	CHECK(predict_link(&x, NAN, 1) == 1);
	CHECK(predict_link(&x, -INFINITY, 1) == 1);
	CHECK(predict_link(&x, INFINITY, 1) == 5);
	CHECK(predict_init(&x, RANKING_FACTOR, 3, 3, NULL, 0, NULL) == RS_OK);
	CHECK(predict_one(&x, u, v, NULL) == 3);
	CHECK(predict_link(&x, NAN, 1) == 0);
	CHECK(predict_link(&x, INFINITY, 1) == 0);
}

static void
test_ordinal(void)
{
	PredictParam p[3] = {{"levels", 1, {5}, levels},
						 {"cutpoints", 1, {4}, cuts},
						 {"variance", 1, {1}, one}};
	Predictor x;
	float last = 0;

	CHECK(predict_init(&x, RANKING_FACTOR, 2, 2, p, 3, NULL) == RS_OK);
	/* 1 + sum of Phi((s - c) / sqrt 2), from tables of the normal */
	CHECK(fabsf(predict_link(&x, 0, 1) - 3.011339f) < 1e-4f);
	for (float s = -40; s < 40; s += 0.25f)
	{
		float y = predict_link(&x, s, 1);

		CHECK(y >= 1 && y <= 5 && y >= last);
		last = y;
	}
	CHECK(predict_link(&x, -40, 1) == 1);
	CHECK(fabsf(predict_link(&x, 40, 1) - 5) < 1e-6f);
}

static void
test_logistic(void)
{
	PredictParam p[1] = {{"logistic", 1, {1}, one}};
	Predictor x;

	CHECK(predict_init(&x, RANKING_FACTOR, 2, 2, p, 1, NULL) == RS_OK);
	CHECK(predict_link(&x, 0, 1) == 0.5f);
	CHECK(predict_link(&x, 1000, 1) == 1);
	CHECK(predict_link(&x, -1000, 1) == 0);
}

/* x <- x0 * (x W + b) + x, then a layer of one output */
static void
test_cross(void)
{
	static const float w[4] = {1, 0, 2, 1};
	static const float b[2] = {0.5f, -1};
	static const float k[2] = {1, 10};
	static const float zero[1] = {0.25f};
	PredictParam p[4] = {{"cross_kernel_0", 2, {2, 2}, w},
						 {"cross_bias_0", 1, {2}, b},
						 {"kernel_0", 2, {2, 1}, k},
						 {"bias_0", 1, {1}, zero}};
	float u[1] = {2};
	float v[1] = {3};
	float scratch[16];
	Predictor x;

	/* x W + b = (2 + 6 + .5, 3 - 1); x = (2 + 17, 3 + 6) */
	CHECK(predict_init(&x, RANKING_MLP, 1, 1, p, 4, NULL) == RS_OK);
	CHECK(predict_scratch(&x) <= 16);
	CHECK(fabsf(predict_one(&x, u, v, scratch) - (19 + 90 + 0.25f)) < 1e-4f);
}

static void
bad(JobRanking kind, int du, int di, PredictParam *p, int n)
{
	Predictor x;
	const char *problem = NULL;

	CHECK(predict_init(&x, kind, du, di, p, n, &problem) == RS_INVALID);
	CHECK(problem != NULL);
}

static void
test_bad(void)
{
	static const float nan[2] = {NAN, 1};
	static const float falling[4] = {5, 4, 3, 2};
	static const float k[6] = {0};
	PredictParam clamp_nan[1] = {{"clamp", 1, {2}, nan}};
	PredictParam clamp_falling[1] = {{"clamp", 1, {2}, falling}};
	PredictParam clamp_long[1] = {{"clamp", 1, {3}, k}};
	PredictParam mean[1] = {{"user_mean", 1, {3}, k}};
	PredictParam lonely[1] = {{"levels", 1, {5}, levels}};
	PredictParam few[2] = {{"levels", 1, {5}, levels},
						   {"cutpoints", 1, {3}, cuts}};
	PredictParam unsorted[2] = {{"levels", 1, {5}, levels},
								{"cutpoints", 1, {4}, falling}};
	PredictParam no_bias[1] = {{"kernel_0", 2, {2, 1}, k}};
	PredictParam wrong_in[2] = {{"kernel_0", 2, {3, 1}, k},
								{"bias_0", 1, {1}, k}};
	PredictParam wide[2] = {{"kernel_0", 2, {2, 3}, k}, {"bias_0", 1, {3}, k}};

	bad(RANKING_FACTOR, 2, 3, NULL, 0);
	bad(RANKING_FACTOR, 0, 0, NULL, 0);
	bad(RANKING_NONE, 2, 2, NULL, 0);
	bad((JobRanking) 77, 2, 2, NULL, 0);
	bad(RANKING_MLP, 1, 1, NULL, 0);
	bad(RANKING_FACTOR, 2, 2, clamp_nan, 1);
	bad(RANKING_FACTOR, 2, 2, clamp_falling, 1);
	bad(RANKING_FACTOR, 2, 2, clamp_long, 1);
	bad(RANKING_FACTOR, 2, 2, mean, 1);
	bad(RANKING_FACTOR, 2, 2, lonely, 1);
	bad(RANKING_FACTOR, 2, 2, few, 2);
	bad(RANKING_FACTOR, 2, 2, unsorted, 2);
	bad(RANKING_MLP, 1, 1, no_bias, 1);
	bad(RANKING_MLP, 1, 1, wrong_in, 2);
	bad(RANKING_MLP, 1, 1, wide, 2);
}

int
main(void)
{
	test_factor();
	test_ordinal();
	test_logistic();
	test_cross();
	test_bad();
	return check_summary();
}

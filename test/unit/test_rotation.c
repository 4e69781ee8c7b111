/*
 * test_rotation.c
 *		Rotations keep lengths and inner products, and put into the first
 *		coordinates nearly as much energy as any map can.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/codes.h"
#include "math/rng.h"
#include "math/rotation.h"

#define ROWS 3000
#define CENTRES 7

typedef struct Set
{
	float *x, *centre;
	int32_t *owner;
	double top; /* energy of the best `head` directions, as a share */
} Set;

/* y -= 2 (v . y) v / |v|^2 for some fixed v: coordinates lose their meaning */
static void
mix(float *y, int dim, uint64_t seed)
{
	for (int k = 0; k < 3; k++)
	{
		Rng rng;
		double dot = 0, square = 0;
		double v[CODE_MAX_DIM];

		rng_init(&rng, seed, (uint64_t) k);
		for (int i = 0; i < dim; i++)
		{
			v[i] = rng_normal(&rng);
			dot += v[i] * y[i];
			square += v[i] * v[i];
		}
		for (int i = 0; i < dim; i++)
			y[i] -= (float) (2 * dot / square * v[i]);
	}
}

/* rows around centres with a falling spectrum in unknown directions */
static Set
make_set(int dim, int head)
{
	Set s;
	Rng rng;
	double all = 0;

	rng_init(&rng, 5, (uint64_t) dim);
	s.x = malloc(sizeof(float) * ROWS * (size_t) dim);
	s.centre = malloc(sizeof(float) * CENTRES * (size_t) dim);
	s.owner = malloc(sizeof(int32_t) * ROWS);
	for (int i = 0; i < CENTRES * dim; i++)
		s.centre[i] = (float) rng_normal(&rng);
	s.top = 0;
	for (int i = 0; i < dim; i++)
	{
		all += 1.0 / (1 + i);
		s.top += i < head ? 1.0 / (1 + i) : 0;
	}
	s.top /= all;
	for (int r = 0; r < ROWS; r++)
	{
		float *x = s.x + (size_t) r * (size_t) dim;

		s.owner[r] = (int32_t) rng_below(&rng, CENTRES);
		for (int i = 0; i < dim; i++)
			x[i] = (float) (rng_normal(&rng) / sqrt(1 + i));
		mix(x, dim, 3);
		for (int i = 0; i < dim; i++)
			x[i] += s.centre[(size_t) s.owner[r] * (size_t) dim + (size_t) i];
	}
	return s;
}

static void
free_set(Set *s)
{
	free(s->x);
	free(s->centre);
	free(s->owner);
}

static double
dot(const float *a, const float *b, int n)
{
	double s = 0;

	for (int i = 0; i < n; i++)
		s += (double) a[i] * b[i];
	return s;
}

static void
check_dim(int dim, int head)
{
	Set s = make_set(dim, head);
	RotationRows rows = {s.x, s.centre, s.owner, ROWS, dim};
	float *rotation = malloc(rotation_size(dim, head));
	float a[CODE_MAX_DIM + CODE_LANES], b[CODE_MAX_DIM + CODE_LANES];
	float r[CODE_MAX_DIM];
	double inside = 0, all = 0, worst = 0, apart = 0, y[CODE_MAX_DIM];
	double square[CODE_MAX_DIM] = {0}, most = 0;
	bool found;

	CHECK(rotation_find(&rows, head, rotation, &found) == RS_OK && found);
	for (int u = 0; u + 1 < ROWS; u += 7)
	{
		const float *x = s.x + (size_t) u * (size_t) dim;
		const float *c = s.centre + (size_t) s.owner[u] * (size_t) dim;
		double length = sqrt(dot(x, x, dim) * dot(x + dim, x + dim, dim));

		rotation_apply(rotation, dim, head, x, a);
		rotation_apply(rotation, dim, head, x + dim, b);
		worst =
			fmax(worst, fabs(dot(a, b, dim) - dot(x, x + dim, dim)) / length);
		worst = fmax(worst, fabs(dot(a, a, dim) / dot(x, x, dim) - 1));
		for (int i = 0; i < dim; i++)
			r[i] = x[i] - c[i];
		rotation_apply(rotation, dim, head, r, a);
		rotation_apply_double(rotation, dim, head, r, y);
		for (int i = 0; i < dim; i++)
			apart += (y[i] - a[i]) * (y[i] - a[i]);
		inside += dot(a, a, head);
		all += dot(a, a, dim);
		for (int i = head; i < dim; i++)
			square[i] += a[i] * a[i];
	}
	for (int i = head; i < dim; i++)
		most = fmax(most, square[i] / ((all - inside) / (dim - head)));
	CHECK(worst < code_slack(dim) / 5);
	CHECK(apart > 0 && sqrt(apart / all) < code_off(dim, 1));
	CHECK(inside / all > .93 * s.top);
	/* the others are alike; unmixed up to 8.6 */
	CHECK(most < 2.7);
	free(rotation);
	free_set(&s);
}

/* few vectors, equal ones, zeros and what is no number */
static void
check_odd(int dim, int head)
{
	Set s = make_set(dim, head);
	RotationRows rows = {s.x, s.centre, s.owner, ROWS, dim};
	float *rotation = malloc(rotation_size(dim, head));
	float out[CODE_MAX_DIM + CODE_LANES], x[CODE_MAX_DIM];
	bool found;

	rows.n = 1;
	CHECK(rotation_find(&rows, head, rotation, &found) == RS_OK && !found);
	rows.n = ROWS;
	memset(s.centre, 0, sizeof(float) * CENTRES * (size_t) dim);
	for (int kind = 0; kind < 2; kind++)
	{
		for (int i = 0; i < ROWS * dim; i++)
			s.x[i] = kind == 0 ? 0 : (float) (i % dim);
		CHECK(rotation_find(&rows, head, rotation, &found) == RS_OK);
		for (int i = 0; found && i < dim; i++)
			x[i] = (float) (i % 5) - 2;
		if (found)
			rotation_apply(rotation, dim, head, x, out);
		CHECK(!found || fabs(dot(out, out, dim) / dot(x, x, dim) - 1) < 1e-5);
	}
	s.x[3 * dim + 1] = NAN;
	CHECK(rotation_find(&rows, head, rotation, &found) == RS_OK);
	free(rotation);
	free_set(&s);
}

int
main(void)
{
	static const int dims[][2] = {{3, 3},    {64, 40},   {96, 48},
								  {256, 64}, {257, 64},  {384, 64},
								  {768, 64}, {1536, 64}, {2000, 64}};

	for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++)
		check_dim(dims[i][0], dims[i][1]);
	check_odd(48, 40);
	check_odd(300, 64);
	return check_summary();
}

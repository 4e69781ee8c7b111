/*
 * rotation.c
 *		See rotation.h.
 *
 * A stored rotation is packed as code_pack does, or it is the reflections'
 * vectors (head, dim) and behind them their factors 2 / |v|^2 as sums of two
 * floats (2, head).
 */
#include "math/rotation.h"

#include <math.h>
#include <string.h>

#include "math/clones.h"
#include "math/codes.h"
#include "math/eigen_sym.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define MOMENT_ROWS 20000 /* vectors whose second moment is taken */
#define POWER_ROWS 2048   /* vectors that a subspace iteration looks at */
#define POWER_STEPS 6
#define LEAST_ROWS 2 /* times head, so that a subspace means something */

static int
packed_blocks(int dim)
{
	return (dim + CODE_LANES - 1) / CODE_LANES;
}

size_t
rotation_size(int dim, int head)
{
	size_t floats = (size_t) head * (size_t) (dim + 2);

	if (dim <= ROTATION_DENSE)
		floats = (size_t) packed_blocks(dim) * CODE_LANES * (size_t) dim;
	return (floats * sizeof(float) + 63) / 64 * 64;
}

size_t
rotation_scratch(int dim, int head)
{
	size_t d = (size_t) dim;

	if (dim <= ROTATION_DENSE)
		return sizeof(double) * (d * d + 3 * d) + sizeof(float) * d * d;
	return 2 * sizeof(float) * (size_t) head * d;
}

/* vector u of `used` chosen ones into r (dim) */
static void
get_row(const RotationRows *rows, int u, int used, float *r)
{
	size_t d = (size_t) rows->dim;
	size_t i = (size_t) ((int64_t) rows->n * u / used);
	const float *x = rows->x + i * d;
	const float *c = rows->centre + (size_t) rows->owner[i] * d;

	for (size_t j = 0; j < d; j++)
		r[j] = x[j] - c[j];
}

/* Hadamard's transform of y (n, a power of 2), orthonormal */
CLONES static void
hadamard(double *restrict y, int n)
{
	double scale = 1 / sqrt(n);

	for (int half = 1; half < n; half *= 2)
		for (int i = 0; i < n; i += 2 * half)
			for (int j = i; j < i + half; j++)
			{
				double a = y[j], b = y[j + half];

				y[j] = a + b;
				y[j + half] = a - b;
			}
	for (int i = 0; i < n; i++)
		y[i] *= scale;
}

/*
 * Turn y (n) so that its coordinates become alike in size: random signs, then
 * Hadamard's transform of the first 2^k and of the last 2^k of them, most of which are
 * in both. Orthogonal.
 */
static void
mix(double *y, int n)
{
	uint32_t random = 1;
	int part = 1;

	if (n < 2)
		return;
	while (part * 2 <= n)
		part *= 2;
	for (int i = 0; i < n; i++)
	{
		/* xorshift (Marsaglia 2003) */
		random ^= random << 13;
		random ^= random >> 17;
		random ^= random << 5;
		y[i] = random & 1 ? -y[i] : y[i];
	}
	hadamard(y, part);
	if (part < n)
		hadamard(y + n - part, part);
}

/* ---- a matrix ---- */

CLONES static RsStatus
second_moment(const RotationRows *rows, double *moment)
{
	int dim = rows->dim;
	int used = rows->n < MOMENT_ROWS ? rows->n : MOMENT_ROWS;
	float r[ROTATION_DENSE];

	memset(moment, 0, sizeof(double) * (size_t) dim * (size_t) dim);
	for (int u = 0; u < used; u++)
	{
		if (u % 256 == 0 && math_interrupted())
			return RS_CANCELLED;
		get_row(rows, u, used, r);
		for (int j = 0; j < dim; j++)
			for (int k = 0; k <= j; k++)
				moment[(size_t) j * (size_t) dim + (size_t) k] +=
					(double) r[j] * r[k];
	}
	for (int j = 0; j < dim; j++)
		for (int k = 0; k < j; k++)
			moment[(size_t) k * (size_t) dim + (size_t) j] =
				moment[(size_t) j * (size_t) dim + (size_t) k];
	return RS_OK;
}

static RsStatus
find_matrix(const RotationRows *rows, int head, float *rotation, bool *found)
{
	size_t d = (size_t) rows->dim;
	double *moment = math_alloc_array(d * d + 3 * d, sizeof(double));
	float *turn = math_alloc_array(d * d, sizeof(float));
	RsStatus st = RS_NO_MEMORY;

	if (moment != NULL && turn != NULL)
		st = second_moment(rows, moment);
	if (st == RS_OK &&
		eigen_sym(moment, rows->dim, moment + d * d, moment + d * d + d))
	{
		for (size_t j = 0; j < d; j++)
		{
			mix(moment + j * d + head, rows->dim - head);
			for (size_t i = 0; i < d; i++)
				turn[i * d + j] = (float) moment[j * d + i];
		}
		memset(rotation, 0, rotation_size(rows->dim, 0));
		code_pack(turn, rows->dim, rows->dim, rotation);
		*found = true;
	}
	math_release(moment);
	math_release(turn);
	return st;
}

/* ---- reflections ---- */

/* rows q (n, dim), orthonormal; one that depends on those before it becomes a
 * random one */
static bool
orthonormalise(float *q, int n, int dim, Rng *rng)
{
	for (int k = 0; k < n; k++)
	{
		float *z = q + (size_t) k * (size_t) dim;
		bool done = false;

		for (int tries = 0; tries < 8 && !done; tries++)
		{
			double before = sqrt(vec_ops.squares_double(z, dim)), after;

			if (!isfinite(before))
				return false;
			/* twice is enough (Kahan) */
			for (int pass = 0; pass < 2; pass++)
				for (int j = 0; j < k; j++)
				{
					const float *other = q + (size_t) j * (size_t) dim;

					vec_ops.axpy((float) -vec_ops.dot_double(z, other, dim),
								 other, z, dim);
				}
			after = sqrt(vec_ops.squares_double(z, dim));
			done = after > 1e-4 * before && after > 1e-30;
			for (int i = 0; i < dim; i++)
				z[i] = (float) (done ? z[i] / after : rng_normal(rng));
		}
		if (!done)
			return false;
	}
	return true;
}

/* z (head, dim) = sum of r (q r)^T */
static RsStatus
power_step(const RotationRows *rows, int head, const float *q, float *z)
{
	int dim = rows->dim;
	int used = rows->n < POWER_ROWS ? rows->n : POWER_ROWS;
	float r[CODE_MAX_DIM], y[CODE_MAX_DIM];

	memset(z, 0, sizeof(float) * (size_t) head * (size_t) dim);
	for (int u = 0; u < used; u++)
	{
		if (u % 64 == 0 && math_interrupted())
			return RS_CANCELLED;
		get_row(rows, u, used, r);
		vec_ops.dot_many(r, q, head, dim, dim, y);
		for (int k = 0; k < head; k++)
			vec_ops.axpy(y[k], r, z + (size_t) k * (size_t) dim, dim);
	}
	return RS_OK;
}

/* y -= f (v . y) v, of coordinates from `from` on */
CLONES static void
reflect(const float *restrict v, double f, int from, int dim,
		double *restrict y)
{
	double part[16] = {0}, s = 0;
	int i = from;

	for (; i + 16 <= dim; i += 16)
		for (int l = 0; l < 16; l++)
			part[l] += (double) v[i + l] * y[i + l];
	for (; i < dim; i++)
		s += (double) v[i] * y[i];
	for (int l = 0; l < 16; l++)
		s += part[l];
	s *= f;
	for (i = from; i < dim; i++)
		y[i] -= s * v[i];
}

static double
factor_of(const float *rotation, int dim, int head, int k)
{
	const float *f = rotation + (size_t) head * (size_t) dim;

	return (double) f[k] + f[head + k];
}

/* reflections that turn the rows of q (head, dim) onto the first axes */
static void
make_reflections(const float *q, int head, int dim, float *rotation)
{
	float *factor = rotation + (size_t) head * (size_t) dim;
	double y[CODE_MAX_DIM];

	for (int k = 0; k < head; k++)
	{
		float *v = rotation + (size_t) k * (size_t) dim;
		double length = 0, square = 0, f;

		for (int i = 0; i < dim; i++)
			y[i] = q[(size_t) k * (size_t) dim + (size_t) i];
		for (int j = 0; j < k; j++)
			reflect(rotation + (size_t) j * (size_t) dim,
					factor_of(rotation, dim, head, j), j, dim, y);
		for (int i = k; i < dim; i++)
			length += y[i] * y[i];
		length = sqrt(length);
		y[k] += y[k] < 0 ? -length : length;
		for (int i = 0; i < dim; i++)
		{
			v[i] = i < k ? 0 : (float) y[i];
			square += (double) v[i] * v[i];
		}
		f = square > 1e-30 ? 2 / square : 0;
		factor[k] = (float) f;
		factor[head + k] = (float) (f - factor[k]);
	}
}

static RsStatus
find_reflections(const RotationRows *rows, int head, float *rotation,
				 bool *found)
{
	size_t size = (size_t) head * (size_t) rows->dim;
	float *q = math_alloc_array(size, sizeof(float));
	float *z = math_alloc_array(size, sizeof(float));
	RsStatus st = q != NULL && z != NULL ? RS_OK : RS_NO_MEMORY;
	bool sound = true;
	Rng rng;

	rng_init(&rng, 1, 0);
	for (size_t i = 0; st == RS_OK && i < size; i++)
		z[i] = (float) rng_normal(&rng);
	for (int i = 0; st == RS_OK && sound && i <= POWER_STEPS; i++)
	{
		float *swap = q;

		sound = orthonormalise(z, head, rows->dim, &rng);
		q = z;
		z = swap;
		if (sound && i < POWER_STEPS)
			st = power_step(rows, head, q, z);
	}
	if (st == RS_OK && sound)
	{
		memset(rotation, 0, rotation_size(rows->dim, head));
		make_reflections(q, head, rows->dim, rotation);
		*found = true;
	}
	math_release(q);
	math_release(z);
	return st;
}

RsStatus
rotation_find(const RotationRows *rows, int head, float *rotation, bool *found)
{
	*found = false;
	if (rows->dim <= ROTATION_DENSE)
		return rows->n < 2 ? RS_OK : find_matrix(rows, head, rotation, found);
	if (rows->n < LEAST_ROWS * head || rows->dim > CODE_MAX_DIM)
		return RS_OK;
	return find_reflections(rows, head, rotation, found);
}

static void
apply_reflections(const float *rotation, int dim, int head, const float *x,
				  double *y)
{
	for (int i = 0; i < dim; i++)
		y[i] = x[i];
	for (int k = 0; k < head; k++)
		reflect(rotation + (size_t) k * (size_t) dim,
				factor_of(rotation, dim, head, k), k, dim, y);
	mix(y + head, dim - head);
}

void
rotation_apply(const float *rotation, int dim, int head, const float *x,
			   float *out)
{
	double y[CODE_MAX_DIM];

	if (dim <= ROTATION_DENSE)
	{
		code_pack_dots(x, rotation, packed_blocks(dim), dim, out);
		return;
	}
	apply_reflections(rotation, dim, head, x, y);
	for (int i = 0; i < dim; i++)
		out[i] = (float) y[i];
}

void
rotation_apply_double(const float *rotation, int dim, int head, const float *x,
					  double *out)
{
	if (dim > ROTATION_DENSE)
	{
		apply_reflections(rotation, dim, head, x, out);
		return;
	}
	for (int b = 0; b < packed_blocks(dim); b++)
	{
		const float *m = rotation + (size_t) b * (size_t) dim * CODE_LANES;
		double sum[CODE_LANES] = {0};
		int n = dim - b * CODE_LANES;

		for (int i = 0; i < dim; i++)
			for (int l = 0; l < CODE_LANES; l++)
				sum[l] += (double) x[i] * m[i * CODE_LANES + l];
		memcpy(out + b * CODE_LANES, sum,
			   sizeof(double) * (size_t) (n < CODE_LANES ? n : CODE_LANES));
	}
}

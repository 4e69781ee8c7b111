/*
 * cells.c
 *		Ranges of cells. See cells.h.
 *
 * Squares are summed in double: in float32 those of rows shorter than 1e-19
 * vanish, and a range that ought to be wide would be empty.
 */
#include "math/cells.h"

#include <math.h>
#include <string.h>

#include "math/codes.h"
#include "math/vec.h"

static inline double
max_of(double a, double b)
{
	return a > b ? a : b;
}

/* b when a is no number */
static inline double
min_of(double a, double b)
{
	return a < b ? a : b;
}

void
cell_begin(Cell *cell, const float *centroid, int dim)
{
	memset(cell, 0, sizeof(*cell));
	cell->first = UINT32_MAX;
	cell->norm = (float) sqrt(vec_squares_double(centroid, dim));
	cell->along_min = cell->r_min = INFINITY;
	cell->along_max = -INFINITY;
}

/* the part of x along the centroid's line */
static double
along_of(const Cell *cell, const float *x, const float *centroid, int dim)
{
	return cell->norm > 0 ? vec_dot_double(x, centroid, dim) / cell->norm : 0;
}

float
cell_widen(Cell *cell, const float *x, const float *r, const float *centroid,
		   int dim)
{
	double along = along_of(cell, x, centroid, dim);
	double xx = vec_squares_double(x, dim);
	float radius = (float) sqrt(vec_squares_double(r, dim));

	cell->rows++;
	cell->along_min = fminf(cell->along_min, (float) along);
	cell->along_max = fmaxf(cell->along_max, (float) along);
	cell->across =
		fmaxf(cell->across, (float) sqrt(max_of(xx - along * along, 0)));
	cell->length = fmaxf(cell->length, (float) sqrt(xx));
	cell->r_min = fminf(cell->r_min, radius);
	cell->r_max = fmaxf(cell->r_max, radius);
	return radius;
}

void
cell_merge(Cell *cell, const Cell *other)
{
	cell->rows += other->rows;
	cell->along_min = fminf(cell->along_min, other->along_min);
	cell->along_max = fmaxf(cell->along_max, other->along_max);
	cell->across = fmaxf(cell->across, other->across);
	cell->length = fmaxf(cell->length, other->length);
	cell->r_min = fminf(cell->r_min, other->r_min);
	cell->r_max = fmaxf(cell->r_max, other->r_max);
}

/* what float32 arithmetic may have added to a row of the cell */
static double
wide_of(const Cell *cell, double length, int dim)
{
	return code_slack(dim) * (length + cell->norm) + dim * 1e-44;
}

void
cell_close(Cell *cell, int dim)
{
	double wide = wide_of(cell, cell->length, dim);

	if (cell->rows == 0)
	{
		cell->along_min = cell->along_max = cell->r_min = 0;
		return;
	}
	/* the root of a difference of squares loses half the digits */
	cell->across = (float) (sqrt((double) cell->across * cell->across +
								 2 * wide * cell->length) +
							wide);
	cell->along_min -= (float) wide;
	cell->along_max += (float) wide;
	cell->length += (float) wide;
	cell->r_min = (float) max_of(cell->r_min - wide, 0);
	cell->r_max += (float) wide;
}

/* wide: what is left between the row and the ends of the ranges */
static bool
is_within(const Cell *cell, bool l2, const float *x, const float *r,
		  const float *centroid, int dim, double wide)
{
	double along = along_of(cell, x, centroid, dim);
	double xx = vec_squares_double(x, dim), length = sqrt(xx);
	double radius = sqrt(vec_squares_double(r, dim));
	double across = sqrt(max_of(xx - along * along, 0) + 2 * wide * length);

	if (length + wide > cell->length || radius + wide > cell->r_max)
		return false;
	if (l2)
		return radius - wide >= cell->r_min;
	return along - wide >= cell->along_min && along + wide <= cell->along_max &&
		   across + wide <= cell->across;
}

bool
cell_admits(const Cell *cell, bool l2, const float *x, const float *r,
			const float *centroid, int dim)
{
	double wide = wide_of(cell, sqrt(vec_squares_double(x, dim)), dim);

	return is_within(cell, l2, x, r, centroid, dim, wide);
}

bool
cell_holds(const Cell *cell, bool l2, const float *x, const float *r,
		   const float *centroid, int dim)
{
	return is_within(cell, l2, x, r, centroid, dim, 0);
}

bool
cell_may_admit(const Cell *cell, bool l2, float dot, double length)
{
	double xx = length * length;
	double along = cell->norm > 0 ? dot / cell->norm : 0;
	double rr = xx - 2.0 * dot + (double) cell->norm * cell->norm;

	if (length > cell->length || rr > (double) cell->r_max * cell->r_max)
		return false;
	if (l2)
		return rr >= (double) cell->r_min * cell->r_min;
	return along >= cell->along_min && along <= cell->along_max &&
		   xx - along * along <= (double) cell->across * cell->across;
}

/*
 * The score at z = 1 is -(D - r)^2 with the r of the cell nearest to D. When
 * the query is within r_min an error of D^2, small beside q_norm and norm,
 * is a large one of D: the largest D is taken that may be.
 */
static float
bound_l2(const Cell *cell, double share, float dot, double q_norm, double z)
{
	double norm = cell->norm, off = share * (q_norm + norm) * (q_norm + norm);
	double d2 = max_of(q_norm * q_norm - 2.0 * dot + norm * norm, 0);
	double d = sqrt(d2), r;

	if (d < cell->r_min)
		d = min_of(sqrt(d2 + off), cell->r_min);
	r = z * d;
	r = r < cell->r_min ? cell->r_min : r > cell->r_max ? cell->r_max : r;
	return (float) (-d * d + 2 * z * d * r - r * r);
}

float
cell_bound(const Cell *cell, bool l2, int dim, float dot, double q_norm,
		   double z)
{
	double share = code_slack(dim), q_u, q_v, bound;

	if (l2)
		return bound_l2(cell, share, dot, q_norm, z);
	q_u = cell->norm > 0 ? dot / cell->norm : 0;
	/* again the root of a difference of squares */
	q_v = q_norm * q_norm * (1 + 2 * share) - q_u * q_u;
	q_v = q_v > 0 ? sqrt(q_v) : 0;
	bound = (q_u > 0 ? cell->along_max : cell->along_min) * q_u +
			z * q_v * cell->across;
	return (float) min_of(bound, q_norm * cell->length);
}

double
cell_slack(bool l2, int dim, double q_norm, double tiny, double length,
		   double d, double radius)
{
	double share = code_slack(dim), off;

	if (!l2)
		return share * q_norm * length + tiny;
	off = share * (q_norm + length);
	return 2 * (d + radius) * off + off * off +
		   share * (d + radius) * (d + radius) + tiny;
}

void
cell_bounds(const Cell *cell, int n, bool l2, int dim, const float *dot,
			double q_norm, double tiny, double z, float *out)
{
	for (int c = 0; c < n; c++)
	{
		double norm = cell[c].norm;

		out[c] =
			(float) (cell_bound(cell + c, l2, dim, dot[c], q_norm, z) +
					 cell_slack(l2, dim, q_norm, tiny, cell[c].length + norm,
								q_norm + norm, cell[c].r_max));
	}
}

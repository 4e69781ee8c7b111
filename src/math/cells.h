/*
 * cells.h
 *		Ranges over the rows of a cell of the index ann, and what they bound.
 *
 * With c the cell's centroid and u its direction, each row x of the cell has
 *
 *		along_min <= x . u <= along_max		|x - (x . u) u| <= across
 *		|x| <= length						r_min <= |x - c| <= r_max
 *
 * so that for a query q, with q_u its part along u and q_v the length of the
 * rest,
 *
 *		q . x      <= max(along q_u) + q_v across, and <= |q| length
 *		-|q - x|^2 <= -(the distance of D = |q - c| to [r_min, r_max])^2
 *
 * Ranges are widened row by row, then closed: rounded outwards by more than
 * float32 arithmetic may have erred in rotation and centroid. The scores of
 * cell_bound are proven together with cell_slack.
 */
#ifndef RECSYS_CELLS_H
#define RECSYS_CELLS_H

#include <stdbool.h>
#include <stdint.h>

/* stored in the index; ranges rounded outwards once closed */
typedef struct Cell
{
	uint32_t first; /* the index's: block of the first leaf */
	uint32_t rows;  /* that widened it */
	float norm;     /* of the centroid */
	float along_min;
	float along_max;
	float across;
	float length;
	float r_min;
	float r_max;
} Cell;

/* no row yet; centroid (dim) */
extern void cell_begin(Cell *cell, const float *centroid, int dim);
/* one more row: x, r = x - centroid, in the centroid's coordinates; returns
 * |r| */
extern float cell_widen(Cell *cell, const float *x, const float *r,
						const float *centroid, int dim);
/* widen by the rows of another set with the same centroid */
extern void cell_merge(Cell *cell, const Cell *other);
extern void cell_close(Cell *cell, int dim);

/* is a row within the closed ranges, whatever float32 arithmetic did to it? */
extern bool cell_admits(const Cell *cell, bool l2, const float *x,
						const float *r, const float *centroid, int dim);
/* is a row within the closed ranges by its own numbers, as all that are in the
 * cell? */
extern bool cell_holds(const Cell *cell, bool l2, const float *x,
					   const float *r, const float *centroid, int dim);
/* the same as cell_admits from |x| and dot = x . centroid alone, but for rounding */
extern bool cell_may_admit(const Cell *cell, bool l2, float dot, double length);

/*
 * Upper bound of q . x, or of -|q - x|^2, over the rows, less cell_slack.
 * dot = q . centroid. z scales q_v and the radius: 1 is proven.
 */
extern float cell_bound(const Cell *cell, bool l2, int dim, float dot,
						double q_norm, double z);
/*
 * What float32 arithmetic may add to scores of rows up to `length` within
 * radius of a centroid that is at distance d of the query (d, radius: L2);
 * tiny: what denormals may.
 */
extern double cell_slack(bool l2, int dim, double q_norm, double tiny,
						 double length, double d, double radius);
/* both together of n cells, from dot (n): out (n) */
extern void cell_bounds(const Cell *cell, int n, bool l2, int dim,
						const float *dot, double q_norm, double tiny, double z,
						float *out);

#endif

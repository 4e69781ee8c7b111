/*
 * gibbs_cg.c
 *		The draw of the features' vectors: a linear system with K = lambda +
 *		X^T H X by conjugate gradients, preconditioned by K's diagonal.
 *
 * K is never formed. A product goes by rows (X p, then H of each row) and by
 * columns (X^T), with a barrier between.
 */
#include "model/gibbs.h"

#include <math.h>
#include <string.h>

enum
{
	STREAM_BETA = 3
};

/* row_work (or fit when plain) = H X b for this member's groups of rows */
static void
rows_phase(Gibbs *g, GibbsSide *s, const float *b, bool plain)
{
	int d = g->full;
	int w = g->width;
	float *work = (float *) g->scratch; /* (LANES, w) */
	Lanes x[GIBBS_WIDTH];
	Lanes y[GIBBS_WIDTH];
	int32_t k;
	int done = 0;

	memset(x, 0, sizeof(Lanes) * (size_t) d);
	while ((k = (int32_t) team_take(g->run->team, s->n_groups)) >= 0)
	{
		int32_t from = k * LANES;
		int n = s->n - from < LANES ? s->n - from : LANES;
		float sum[LANES] = {0};

		if (++done % 64 == 0 && team_stopped(g->run->team) != RS_OK)
			return;
		if (plain)
		{
			gibbs_ops.rows(s, from, from + n, b, w,
						   s->fit + (size_t) from * (size_t) w);
			continue;
		}
		gibbs_ops.rows(s, from, from + n, b, w, work);
		memset(work + (size_t) n * (size_t) w, 0,
			   sizeof(float) * (size_t) (LANES - n) * (size_t) w);
		for (int f = 0; f < d; f++)
			for (int l = 0; l < LANES; l++)
				x[f].of[l] = work[l * w + f];
		gibbs_ops.symmetric_times(
			d, s->hessian + (size_t) k * lanes_triangle(d), x, y);
		for (int f = 0; f < d; f++)
			for (int l = 0; l < LANES; l++)
				sum[l] += x[f].of[l] * y[f].of[l];
		s->group_dot[k] = 0;
		for (int l = 0; l < LANES; l++)
			s->group_dot[k] += sum[l];
		for (int l = 0; l < n; l++)
		{
			float *to = s->row_work + (size_t) (from + l) * (size_t) w;

			for (int f = 0; f < d; f++)
				to[f] = y[f].of[l];
		}
	}
}

typedef struct ColumnPhase
{
	Gibbs *g;
	GibbsSide *s;
	const float *y;   /* (n, width) rows' vectors */
	float *out;       /* (n_cols, width) */
	const float *add; /* (n_cols, width) times lambda is added; or NULL */
	bool squared;
} ColumnPhase;

/* out = X^T y (+ lambda add) for chunk c of columns */
static void
columns_chunk(const ColumnPhase *p, int c)
{
	GibbsSide *s = p->s;
	size_t w = (size_t) p->g->width;
	int64_t from;
	int64_t to;
	int set = 0;

	gibbs_chunk(s->n_cols, c, &from, &to);
	for (int k = 0; k < s->n_blocks; k++)
	{
		const GibbsBlock *x = &s->blocks[k];
		int64_t first = from > x->first ? from : x->first;
		int64_t end = x->first + x->n_cols;

		end = to < end ? to : end;
		if (first < end)
			gibbs_ops.columns(x, (int32_t) (first - x->first),
							  (int32_t) (end - x->first), p->y, (int) w,
							  p->squared, p->out + (size_t) first * w);
	}
	for (int64_t k = from; k < to && p->add != NULL; k++)
	{
		float *out = p->out + (size_t) k * w;
		const float *add = p->add + (size_t) k * w;

		set = gibbs_set_of(s, (int32_t) k, set);
		for (int f = 0; f < p->g->full; f++)
			out[f] += s->set_lambda[set][f] * add[f];
	}
}

/* floats of chunk c of a columns' array: [*from, *from + *n) */
static void
chunk_floats(const Gibbs *g, const GibbsSide *s, int c, size_t *from, size_t *n)
{
	int64_t a;
	int64_t b;

	gibbs_chunk(s->n_cols, c, &a, &b);
	*from = (size_t) a * (size_t) g->width;
	*n = (size_t) (b - a) * (size_t) g->width;
}

static double
sum_chunks(const Gibbs *g, int slot)
{
	double s = 0;

	for (int c = 0; c < RANK_CHUNKS; c++)
		s += g->sums[(size_t) c * (size_t) g->sums_width + (size_t) slot];
	return s;
}

static double *
chunk_sum(const Gibbs *g, int c, int slot)
{
	return g->sums + (size_t) c * (size_t) g->sums_width + slot;
}

/* diagonal (n_cols, width) = lambda + sum x^2 diag(H); inverted */
static RsStatus
make_diagonal(Gibbs *g, GibbsSide *s)
{
	ColumnPhase p = {g, s, s->fit, s->diagonal, NULL, true};
	Team *team = g->run->team;
	int d = g->full;
	int w = g->width;
	int c;
	RsStatus st;

	/* fit is free until the end: diagonals of H by row */
	for (int32_t k = team->rank; k < s->n_groups; k += team->size)
		for (int l = 0; l < LANES && k * LANES + l < s->n; l++)
			for (int f = 0; f < w; f++)
				s->fit[((size_t) k * LANES + (size_t) l) * (size_t) w +
					   (size_t) f] =
					f < d ? s->hessian[(size_t) k * lanes_triangle(d) +
									   lanes_at(f, f)]
								.of[l]
						  : 0;
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
	{
		int64_t from;
		int64_t to;
		int set = 0;

		columns_chunk(&p, c);
		gibbs_chunk(s->n_cols, c, &from, &to);
		for (int64_t k = from; k < to; k++)
		{
			float *out = s->diagonal + (size_t) k * (size_t) w;

			set = gibbs_set_of(s, (int32_t) k, set);
			for (int f = 0; f < w; f++)
				out[f] =
					f < d ? 1 / (s->set_lambda[set][f] + fmaxf(out[f], 0)) : 0;
		}
	}
	return RS_OK;
}

/* residual = X^T row_work + sqrt(lambda) noise */
static void
right_side(Gibbs *g, GibbsSide *s)
{
	ColumnPhase p = {g, s, s->row_work, s->residual, NULL, false};
	float normal[GIBBS_WIDTH];
	int c;

	while ((c = (int) team_take(g->run->team, RANK_CHUNKS)) >= 0)
	{
		int64_t from;
		int64_t to;
		int set = 0;

		columns_chunk(&p, c);
		gibbs_chunk(s->n_cols, c, &from, &to);
		for (int64_t k = from; k < to; k++)
		{
			float *out = s->residual + (size_t) k * (size_t) g->width;

			set = gibbs_set_of(s, (int32_t) k, set);
			normals_fill(g->seed, gibbs_stream(g, s->number, STREAM_BETA, k),
						 normal, g->full);
			for (int f = 0; f < g->full; f++)
				out[f] += sqrtf(s->set_lambda[set][f]) * normal[f];
		}
	}
}

/* x and residual after a step of length a; returns r M^-1 r */
CLONES static double
step_chunk(GibbsSide *s, size_t from, size_t n, float a)
{
	float part[8] = {0};
	double sum = 0;

	for (size_t k = from; k < from + n; k += 8)
		for (size_t l = 0; l < 8; l++)
		{
			float r = s->residual[k + l] - a * s->image[k + l];

			s->beta[k + l] += a * s->direction[k + l];
			s->residual[k + l] = r;
			part[l] += r * r * s->diagonal[k + l];
		}
	for (int l = 0; l < 8; l++)
		sum += part[l];
	return sum;
}

/* the next direction p; returns p^T lambda p */
CLONES static double
turn_chunk(const Gibbs *g, GibbsSide *s, int c, float b)
{
	double sum = 0;
	int64_t from;
	int64_t to;
	int set = 0;

	gibbs_chunk(s->n_cols, c, &from, &to);
	for (int64_t k = from; k < to; k++)
	{
		size_t at = (size_t) k * (size_t) g->width;
		float part[8] = {0};
		const float *lambda;

		set = gibbs_set_of(s, (int32_t) k, set);
		lambda = s->set_lambda[set];
		for (int f = 0; f < g->width; f += 8)
			for (int l = 0; l < 8; l++)
			{
				size_t e = at + (size_t) (f + l);
				float p = s->diagonal[e] * s->residual[e] + b * s->direction[e];

				s->direction[e] = p;
				part[l] += lambda[f + l] * p * p;
			}
		for (int l = 0; l < 8; l++)
			sum += part[l];
	}
	return sum;
}

/* start from the beta of the sweep before: residual, direction, r M^-1 r */
static RsStatus
start(Gibbs *g, GibbsSide *s, double *rz, double *bb)
{
	ColumnPhase p = {g, s, s->row_work, s->image, s->beta, false};
	Team *team = g->run->team;
	int c;
	RsStatus st;

	right_side(g, s);
	if ((st = make_diagonal(g, s)) != RS_OK)
		return st;
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	rows_phase(g, s, s->beta, false);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
	{
		size_t from;
		size_t n;
		double scaled = 0;
		double size = 0;

		columns_chunk(&p, c);
		chunk_floats(g, s, c, &from, &n);
		for (size_t k = from; k < from + n; k++)
		{
			float r = s->residual[k];

			size += (double) r * r * s->diagonal[k];
			r -= s->image[k];
			s->residual[k] = r;
			s->direction[k] = 0;
			scaled += (double) r * r * s->diagonal[k];
		}
		*chunk_sum(g, c, 0) = scaled;
		*chunk_sum(g, c, 1) = turn_chunk(g, s, c, 0);
		*chunk_sum(g, c, 2) = size;
		if (team_stopped(team) != RS_OK)
			break;
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	*rz = sum_chunks(g, 0);
	*bb = sum_chunks(g, 2);
	return RS_OK;
}

/* p^T K p: what the rows gave, and what turn_chunk gave */
static double
curvature(const Gibbs *g, const GibbsSide *s)
{
	double sum = sum_chunks(g, 1);

	for (int32_t k = 0; k < s->n_groups; k++)
		sum += s->group_dot[k];
	return sum;
}

static RsStatus
step(Gibbs *g, GibbsSide *s, double *rz)
{
	ColumnPhase p = {g, s, s->row_work, s->image, s->direction, false};
	Team *team = g->run->team;
	double before = *rz;
	double pq;
	float a;
	float b;
	int c;
	RsStatus st;

	rows_phase(g, s, s->direction, false);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	pq = curvature(g, s);
	a = pq > 0 ? (float) (before / pq) : 0;
	while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
	{
		size_t from;
		size_t n;

		columns_chunk(&p, c);
		chunk_floats(g, s, c, &from, &n);
		*chunk_sum(g, c, 0) = step_chunk(s, from, n, a);
		if (team_stopped(team) != RS_OK)
			break;
	}
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	*rz = sum_chunks(g, 0);
	b = before > 0 ? (float) (*rz / before) : 0;
	while ((c = (int) team_take(team, RANK_CHUNKS)) >= 0)
		*chunk_sum(g, c, 1) = turn_chunk(g, s, c, b);
	return team_barrier(team);
}

RsStatus
gibbs_draw_beta(Gibbs *g, GibbsSide *s)
{
	double rz;
	double bb;
	RsStatus st = start(g, s, &rz, &bb);

	if (st != RS_OK || (st = team_barrier(g->run->team)) != RS_OK)
		return st;
	for (int k = 0; k < g->cg_steps; k++)
	{
		if (!(rz > g->cg_tolerance * g->cg_tolerance * bb))
			break;
		if ((st = step(g, s, &rz)) != RS_OK)
			return st;
	}
	rows_phase(g, s, s->beta, true);
	return team_barrier(g->run->team);
}

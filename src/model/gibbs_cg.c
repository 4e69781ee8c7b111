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

typedef float Part8 __attribute__((vector_size(32), aligned(4)));
typedef float Part16 __attribute__((vector_size(64), aligned(4)));

/*
 * out (w) = X[r] b for columns' vectors b. The inner loops are written for 8
 * or 16 floats at a time, kept in registers, in two sums.
 */
#define ROW_TIMES(part)                                                        \
	for (int f = 0; f < w; f += (int) (sizeof(part) / 4))                      \
	{                                                                          \
		part total = {0};                                                      \
		for (int k = 0; k < s->n_blocks; k++)                                  \
		{                                                                      \
			const GibbsBlock *x = &s->blocks[k];                               \
			const float *at = b + (size_t) x->first * (size_t) w + f;          \
			int64_t e = x->ptr[r];                                             \
			int64_t end = x->end[r];                                           \
			part one = {0};                                                    \
			part two = {0};                                                    \
			for (; e + 1 < end; e += 2)                                        \
			{                                                                  \
				one += AT(part, x->col[e]) * VAL(e);                           \
				two += AT(part, x->col[e + 1]) * VAL(e + 1);                   \
			}                                                                  \
			if (e < end)                                                       \
				one += AT(part, x->col[e]) * VAL(e);                           \
			total +=                                                           \
				(one + two) * (x->row_scale != NULL ? x->row_scale[r] : 1);    \
		}                                                                      \
		*(part *) (out + f) = total;                                           \
	}

#define AT(part, id) (*(const part *) (at + (size_t) (id) * (size_t) w))

static inline __attribute__((always_inline)) void
row_times(const GibbsSide *s, int32_t r, const float *b, int w, float *out)
{
#define VAL(e) (x->val != NULL ? x->val[e] : 1)
	if (w == 8)
		ROW_TIMES(Part8)
	else
		ROW_TIMES(Part16)
#undef VAL
}

static inline float
column_value(const GibbsBlock *x, int64_t e, bool squared)
{
	float v = (x->row_scale != NULL ? x->row_scale[x->row[e]] : 1) *
			  (x->col_val != NULL ? x->col_val[e] : 1);

	return squared ? v * v : v;
}

/* out (w) = column c of X, times rows' vectors y; x^2 when squared */
#define COLUMN_TIMES(part)                                                     \
	for (int f = 0; f < w; f += (int) (sizeof(part) / 4))                      \
	{                                                                          \
		const float *at = y + f;                                               \
		int64_t e = x->col_ptr[c];                                             \
		int64_t end = x->col_end[c];                                           \
		part one = {0};                                                        \
		part two = {0};                                                        \
		for (; e + 1 < end; e += 2)                                            \
		{                                                                      \
			one += AT(part, x->row[e]) * column_value(x, e, squared);          \
			two += AT(part, x->row[e + 1]) * column_value(x, e + 1, squared);  \
		}                                                                      \
		if (e < end)                                                           \
			one += AT(part, x->row[e]) * column_value(x, e, squared);          \
		*(part *) (out + f) = one + two;                                       \
	}

static inline __attribute__((always_inline)) void
column_times(const GibbsBlock *x, int32_t c, const float *y, int w,
			 bool squared, float *out)
{
	if (w == 8)
		COLUMN_TIMES(Part8)
	else
		COLUMN_TIMES(Part16)
}

/* row_work (or fit when plain) = H X b for this member's groups of rows */
MODEL_CLONES static void
rows_phase(Gibbs *g, GibbsSide *s, const float *b, bool plain)
{
	int d = g->full;
	int w = g->width;
	float *work = (float *) g->scratch;
	Lanes x[GIBBS_WIDTH];
	Lanes y[GIBBS_WIDTH];
	Lanes sum;
	int32_t k;
	int done = 0;

	while ((k = (int32_t) team_take(g->run->team, s->n_groups)) >= 0)
	{
		const Lanes *h = s->hessian + (size_t) k * lanes_triangle(d);

		if (++done % 64 == 0 && team_stopped(g->run->team) != RS_OK)
			return;

		for (int l = 0; l < LANES; l++)
		{
			int32_t r = k * LANES + l;
			float *to = plain ? s->fit + (size_t) r * (size_t) w : work;

			if (r >= s->n)
			{
				for (int f = 0; f < d; f++)
					x[f][l] = 0;
				continue;
			}
			if (w == 16)
				row_times(s, r, b, 16, to);
			else if (w == 32)
				row_times(s, r, b, 32, to);
			else
				row_times(s, r, b, w, to);
			for (int f = 0; f < d && !plain; f++)
				x[f][l] = to[f];
		}
		if (plain)
			continue;
		lanes_symmetric_times(d, h, x, y);
		sum = x[0] * y[0];
		for (int f = 1; f < d; f++)
			sum += x[f] * y[f];
		s->group_dot[k] = 0;
		for (int l = 0; l < LANES; l++)
			s->group_dot[k] += sum[l];
		for (int l = 0; l < LANES && k * LANES + l < s->n; l++)
		{
			float *to =
				s->row_work + ((size_t) k * LANES + (size_t) l) * (size_t) w;

			for (int f = 0; f < d; f++)
				to[f] = y[f][l];
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
MODEL_CLONES static void
columns_chunk(const ColumnPhase *p, int c)
{
	GibbsSide *s = p->s;
	int w = p->g->width;
	int64_t from;
	int64_t to;
	int set = 0;
	int block = 0;

	gibbs_chunk(s->n_cols, c, &from, &to);
	for (int64_t k = from; k < to; k++)
	{
		float *out = p->out + (size_t) k * (size_t) w;
		const GibbsBlock *x;

		while (k >= s->blocks[block].first + s->blocks[block].n_cols)
			block++;
		x = &s->blocks[block];
		if (w == 16)
			column_times(x, (int32_t) k - x->first, p->y, 16, p->squared, out);
		else if (w == 32)
			column_times(x, (int32_t) k - x->first, p->y, 32, p->squared, out);
		else
			column_times(x, (int32_t) k - x->first, p->y, w, p->squared, out);
		if (p->add == NULL)
			continue;
		set = gibbs_set_of(s, (int32_t) k, set);
		for (int f = 0; f < p->g->full; f++)
			out[f] += s->set_lambda[set][f] *
					  p->add[(size_t) k * (size_t) w + (size_t) f];
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
									   lanes_at(f, f)][l]
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
			lanes_normals(g->seed, gibbs_stream(g, s->number, STREAM_BETA, k),
						  normal, g->full);
			for (int f = 0; f < g->full; f++)
				out[f] += sqrtf(s->set_lambda[set][f]) * normal[f];
		}
	}
}

/* x and residual after a step of length a; returns r M^-1 r */
MODEL_CLONES static double
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
MODEL_CLONES static double
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

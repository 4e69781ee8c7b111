/*
 * gibbs_mean.c
 *		The average over samples as one inner product.
 */
#include "model/gibbs_mean.h"

#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/hooks.h"
#include "model/gibbs_context.h"

#define POWER_STEPS 2

bool
gibbs_mean_layout(GibbsMean *m, Arena *arena, int rank, int dim,
				  int32_t n_users, int32_t n_items)
{
	int samples = 256 / dim;
	bool ok = true;

	samples = samples < 4 ? 4 : samples;
	m->rank = rank;
	m->columns = rank + samples * dim;
	m->used = m->samples = 0;
	for (int side = 0; side < 2; side++)
	{
		size_t n = gibbs_mean_rows(m, side, side == 0 ? n_users : n_items);

		m->rows[side] =
			arena_alloc(arena, n * (size_t) m->columns, sizeof(float));
		m->basis[side] = arena_alloc(arena, n * (size_t) rank, sizeof(float));
		m->bias[side] = arena_alloc(arena, n, sizeof(double));
		ok = ok && m->rows[side] != NULL && m->basis[side] != NULL &&
			 m->bias[side] != NULL;
	}
	m->gram = arena_alloc(arena, (size_t) RANK_CHUNKS * (size_t) rank,
						  (size_t) rank * sizeof(double));
	m->small = arena_alloc(arena, (size_t) RANK_CHUNKS * (size_t) m->columns,
						   (size_t) rank * sizeof(float));
	return ok && m->gram != NULL && m->small != NULL;
}

/* chunk c of the rows and, with the last one, the context's columns */
static void
basis_rows(const GibbsMean *m, const GibbsSide *s, int c, int64_t *from,
		   int64_t *to)
{
	gibbs_chunk(s->n, c, from, to);
	if (c == RANK_CHUNKS - 1)
		*to += m->context;
}

/* the same and the extra rows */
static void
all_rows(const GibbsMean *m, const GibbsSide *s, int c, int64_t *from,
		 int64_t *to)
{
	basis_rows(m, s, c, from, to);
	if (c == RANK_CHUNKS - 1)
		*to += m->extra[s->number];
}

/* small (columns, rank) of chunk c = rows^T basis over the chunk's rows */
static void
project_chunk(const GibbsMean *m, const GibbsSide *s, int c)
{
	int64_t from;
	int64_t to;
	float *out = m->small + (size_t) c * (size_t) m->columns * (size_t) m->rank;

	basis_rows(m, s, c, &from, &to);
	if (from == to)
	{
		memset(out, 0, sizeof(float) * (size_t) m->columns * (size_t) m->rank);
		return;
	}
	blas.sgemm(true, false, m->used, m->rank, (int) (to - from), 1,
			   m->rows[s->number] + from * m->columns, m->columns,
			   m->basis[s->number] + from * m->rank, m->rank, 0, out, m->rank);
}

/* chunk 0's small = sum over chunks, each member some columns */
static void
sum_small(const GibbsMean *m, const Team *team)
{
	int64_t from;
	int64_t to;
	size_t size = (size_t) m->columns * (size_t) m->rank;

	team_range(team, (int64_t) m->used * m->rank, &from, &to);
	for (int c = 1; c < RANK_CHUNKS; c++)
		for (int64_t k = from; k < to; k++)
			m->small[k] += m->small[(size_t) c * size + (size_t) k];
}

/* basis of s = rows of s times small */
static void
expand_chunk(const GibbsMean *m, const GibbsSide *s, int c)
{
	int64_t from;
	int64_t to;

	all_rows(m, s, c, &from, &to);
	if (from == to)
		return;
	blas.sgemm(false, false, (int) (to - from), m->rank, m->used, 1,
			   m->rows[s->number] + from * m->columns, m->columns, m->small,
			   m->rank, 0, m->basis[s->number] + from * m->rank, m->rank);
}

/* basis of side to = rows_to (rows_from^T basis_from) */
static RsStatus
carry_over(GibbsMean *m, Gibbs *g, int from)
{
	Team *team = g->run->team;
	RsStatus st;

	for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
		project_chunk(m, &g->side[from], c);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	sum_small(m, team);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
		expand_chunk(m, &g->side[1 - from], c);
	return team_barrier(team);
}

static void
gram_chunk(const GibbsMean *m, const GibbsSide *s, int c)
{
	int r = m->rank;
	double *out = m->gram + (size_t) c * (size_t) r * (size_t) r;
	int64_t from;
	int64_t to;

	memset(out, 0, sizeof(double) * (size_t) r * (size_t) r);
	basis_rows(m, s, c, &from, &to);
	for (int64_t k = from; k < to; k++)
	{
		const float *x = m->basis[s->number] + k * r;

		for (int i = 0; i < r; i++)
			for (int j = 0; j <= i; j++)
				out[i * r + j] += (double) x[i] * x[j];
	}
}

/* inverse of the Cholesky factor of the summed Gram matrix, (r, r) */
static void
invert_factor(const GibbsMean *m, double *l, double *inverse)
{
	int r = m->rank;
	double trace = 0;

	memset(l, 0, sizeof(double) * (size_t) r * (size_t) r);
	memset(inverse, 0, sizeof(double) * (size_t) r * (size_t) r);
	for (int c = 0; c < RANK_CHUNKS; c++)
		for (int k = 0; k < r * r; k++)
			l[k] += m->gram[(size_t) c * (size_t) r * (size_t) r + (size_t) k];
	for (int i = 0; i < r; i++)
		trace += l[i * r + i];
	for (int i = 0; i < r; i++)
	{
		for (int j = 0; j <= i; j++)
		{
			double x = l[i * r + j];

			for (int k = 0; k < j; k++)
				x -= l[i * r + k] * l[j * r + k];
			if (j < i)
				l[i * r + j] = l[j * r + j] > 0 ? x / l[j * r + j] : 0;
			else
				/* directions that are not there become zero */
				l[i * r + i] = x > 1e-11 * trace ? sqrt(x) : 0;
		}
		if (l[i * r + i] == 0)
			continue;
		inverse[i * r + i] = 1 / l[i * r + i];
		for (int j = 0; j < i; j++)
		{
			double x = 0;

			for (int k = j; k < i; k++)
				x -= l[i * r + k] * inverse[k * r + j];
			inverse[i * r + j] = x / l[i * r + i];
		}
	}
}

static RsStatus
orthonormalize(GibbsMean *m, Gibbs *g, int side)
{
	Team *team = g->run->team;
	const GibbsSide *s = &g->side[side];
	int r = m->rank;
	double *l = math_alloc_array((size_t) r * (size_t) r, 2 * sizeof(double));
	float row[GIBBS_MAX_DIM];
	RsStatus st;

	if (l == NULL)
		team_stop(team, RS_NO_MEMORY);
	for (int c = team->rank; c < RANK_CHUNKS; c += team->size)
		gram_chunk(m, s, c);
	if ((st = team_barrier(team)) == RS_OK)
		invert_factor(m, l, l + r * r);
	for (int c = team->rank; c < RANK_CHUNKS && st == RS_OK; c += team->size)
	{
		int64_t from;
		int64_t to;
		const double *inverse = l + r * r;

		all_rows(m, s, c, &from, &to);
		for (int64_t k = from; k < to; k++)
		{
			float *x = m->basis[side] + k * r;

			memcpy(row, x, sizeof(float) * (size_t) r);
			for (int i = 0; i < r; i++)
			{
				double y = 0;

				for (int j = 0; j <= i; j++)
					y += inverse[i * r + j] * row[j];
				x[i] = (float) y;
			}
		}
	}
	math_release(l);
	return st == RS_OK ? team_barrier(team) : st;
}

static void
start_basis(GibbsMean *m, Gibbs *g)
{
	const GibbsSide *s = &g->side[1];

	for (int c = g->run->team->rank; c < RANK_CHUNKS; c += g->run->team->size)
	{
		int64_t from;
		int64_t to;

		basis_rows(m, s, c, &from, &to);
		for (int64_t k = from; k < to; k++)
			normals_fill(g->seed, gibbs_stream(g, 1, 6, k),
						 m->basis[1] + k * m->rank, m->rank);
	}
}

static void
store_basis(GibbsMean *m, Gibbs *g)
{
	for (int side = 0; side < 2; side++)
		for (int c = g->run->team->rank; c < RANK_CHUNKS;
			 c += g->run->team->size)
		{
			int64_t from;
			int64_t to;

			all_rows(m, &g->side[side], c, &from, &to);
			for (int64_t k = from; k < to; k++)
				memcpy(m->rows[side] + k * m->columns,
					   m->basis[side] + k * m->rank,
					   sizeof(float) * (size_t) m->rank);
		}
}

static RsStatus
compress(GibbsMean *m, Gibbs *g)
{
	RsStatus st;

	start_basis(m, g);
	if ((st = team_barrier(g->run->team)) != RS_OK)
		return st;
	for (int k = 0; k <= POWER_STEPS; k++)
	{
		if ((st = carry_over(m, g, 1)) != RS_OK ||
			(st = orthonormalize(m, g, 0)) != RS_OK ||
			(st = carry_over(m, g, 0)) != RS_OK)
			return st;
		if (k < POWER_STEPS && (st = orthonormalize(m, g, 1)) != RS_OK)
			return st;
	}
	store_basis(m, g);
	m->used = m->rank;
	return team_barrier(g->run->team);
}

float
gibbs_mean_weight(const Gibbs *g, int side, int32_t c)
{
	const int64_t *ptr = g->context->by.ptr;
	double share = (double) (ptr[c + 1] - ptr[c]) * g->side[side].n /
				   (double) rank_n_train(g->run);

	return (float) sqrt(share > 1 ? share : 1);
}

/* what the context's columns add in this sample */
static void
add_context(GibbsMean *m, const Gibbs *g, int side)
{
	for (int32_t c = 0; c < m->context; c++)
	{
		const float *x = g->context->map[side] + (size_t) c * (size_t) g->width;
		float weight = gibbs_mean_weight(g, side, c);
		size_t row = (size_t) g->side[side].n + (size_t) c;
		float *to = m->rows[side] + row * (size_t) m->columns + m->used;

		for (int f = 0; f < g->dim; f++)
			to[f] = weight * x[f];
		m->bias[side][row] += x[g->dim];
	}
}

/* what features add to a vector in this sample, and the mean of all */
static void
add_extra(GibbsMean *m, const Gibbs *g, int side)
{
	const GibbsSide *s = &g->side[side];
	int32_t cols = m->extra[side] - 1;
	/* the tables' features are the last block */
	const float *beta = s->beta + (size_t) (s->n_cols - cols) * g->width;

	for (int32_t k = 0; k <= cols; k++)
	{
		const float *x = k < cols ? beta + (size_t) k * g->width : s->mu;
		size_t row = (size_t) s->n + (size_t) m->context + (size_t) k;

		memcpy(m->rows[side] + row * (size_t) m->columns + m->used, x,
			   sizeof(float) * (size_t) g->dim);
		m->bias[side][row] += x[g->dim];
	}
}

RsStatus
gibbs_mean_add(GibbsMean *m, Gibbs *g)
{
	RsStatus st;

	if (m->used + g->dim > m->columns && (st = compress(m, g)) != RS_OK)
		return st;
	for (int side = 0; side < 2; side++)
	{
		GibbsSide *s = &g->side[side];

		for (int c = g->run->team->rank; c < RANK_CHUNKS;
			 c += g->run->team->size)
		{
			int64_t from;
			int64_t to;

			gibbs_chunk(s->n, c, &from, &to);
			for (int64_t k = from; k < to; k++)
			{
				memcpy(m->rows[side] + k * m->columns + m->used,
					   s->vec + k * g->width, sizeof(float) * (size_t) g->dim);
				m->bias[side][k] += s->bias[k];
			}
		}
		if (m->context > 0 && g->run->team->rank == 0)
			add_context(m, g, side);
		if (m->extra[side] > 0 && g->run->team->rank == 0)
			add_extra(m, g, side);
	}
	m->used += g->dim;
	m->samples++;
	return team_barrier(g->run->team);
}

RsStatus
gibbs_mean_finish(GibbsMean *m, Gibbs *g)
{
	return compress(m, g);
}

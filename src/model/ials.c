/*
 * ials.c
 *		Implicit alternating least squares: epochs, Gram matrix, rotation.
 *
 * ials_half: partial Gram matrices of the source rows (all members, fixed
 * parts) - sum and eigenvectors (rank 0) - rotation of the source (all) -
 * row solves (all, units by a shared counter; ials_row.c).
 */
#include "model/ials.h"

#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/dense.h"
#include "math/eigen_sym.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "model/ials_row.h"

#define IALS_PARTS 32 /* of a Gram matrix */
#define IALS_UNIT 64  /* rows solved at a time */
#define GRAM_ROWS 256 /* rows of a product: small sums in float32 */
#define INIT_STD 0.1

size_t
ials_size(const IalsConfig *config, int32_t n_users, int32_t n_items)
{
	size_t d = (size_t) config->dim;
	size_t ld = (d + 15) / 16 * 16;
	size_t most = (size_t) (n_users > n_items ? n_users : n_items);

	return arena_need((size_t) n_users * ld, sizeof(float)) +
		   arena_need((size_t) n_items * ld, sizeof(float)) +
		   arena_need(IALS_PARTS * d * d, sizeof(double)) +
		   arena_need(d * ld, sizeof(float)) + arena_need(ld, sizeof(float)) +
		   arena_need(most / IALS_UNIT + 1, sizeof(double)) + 4096;
}

RsStatus
ials_restart(Team *team, Ials *als, const IalsConfig *config)
{
	int64_t from;
	int64_t to;

	als->config = *config;
	als->ld = (config->dim + 15) / 16 * 16;
	team_range(team, als->n_items, &from, &to);
	for (int64_t i = from; i < to; i++)
	{
		float *row = als->h + (size_t) i * (size_t) als->ld;
		Rng rng;

		rng_init(&rng, config->seed, (uint64_t) i);
		for (int k = 0; k < als->ld; k++)
			row[k] =
				k < config->dim
					? (float) (rng_normal(&rng) * INIT_STD / sqrt(config->dim))
					: 0;
	}
	team_range(team, als->n_users, &from, &to);
	memset(als->w + (size_t) from * (size_t) als->ld, 0,
		   sizeof(float) * (size_t) (to - from) * (size_t) als->ld);
	if (team->rank == 0)
		memset(als->next, 0, 8 * sizeof(int64_t));
	return team_barrier(team);
}

RsStatus
ials_init(Arena *arena, const IalsConfig *config, int32_t n_users,
		  int32_t n_items, Ials *als)
{
	size_t d = (size_t) config->dim;
	size_t ld = (d + 15) / 16 * 16;
	size_t most = (size_t) (n_users > n_items ? n_users : n_items);

	memset(als, 0, sizeof(*als));
	als->n_users = n_users;
	als->n_items = n_items;
	als->w = arena_alloc(arena, (size_t) n_users * ld, sizeof(float));
	als->h = arena_alloc(arena, (size_t) n_items * ld, sizeof(float));
	als->part = arena_alloc(arena, IALS_PARTS * d * d, sizeof(double));
	als->rotation = arena_alloc(arena, d * ld, sizeof(float));
	als->spectrum = arena_alloc(arena, ld, sizeof(float));
	als->unit_loss = arena_alloc(arena, most / IALS_UNIT + 1, sizeof(double));
	als->next = arena_alloc(arena, 8, sizeof(int64_t));
	if (als->w == NULL || als->h == NULL || als->part == NULL ||
		als->rotation == NULL || als->spectrum == NULL ||
		als->unit_loss == NULL || als->next == NULL)
		return RS_NO_MEMORY;
	als->config = *config;
	als->ld = (int) ld;
	return RS_OK;
}

/* m rows from `at` on, times the roots of their q, into to */
static const float *
weigh_rows(const Ials *als, const IalsSide *side, const float *rows, int64_t at,
		   int m, float *to)
{
	size_t ld = (size_t) als->ld;

	if (side->col_zeros == NULL)
		return rows + (size_t) at * ld;
	for (int r = 0; r < m; r++)
	{
		float root = sqrtf(side->col_zeros[at + r]);

		for (size_t k = 0; k < ld; k++)
			to[(size_t) r * ld + k] =
				root * rows[((size_t) at + (size_t) r) * ld + k];
	}
	return to;
}

/*
 * Part p of the Gram matrix of rows (n, ld): lower triangle. tile has room
 * for a product and, behind it, for rows.
 */
static RsStatus
gram_part(Team *team, const Ials *als, const IalsSide *side, const float *rows,
		  int p, float *tile)
{
	int32_t n = side->data.n_cols;
	int d = als->config.dim;
	double *sum = als->part + (size_t) p * (size_t) d * (size_t) d;
	int64_t from = (int64_t) n * p / IALS_PARTS;
	int64_t to = (int64_t) n * (p + 1) / IALS_PARTS;

	memset(sum, 0, sizeof(double) * (size_t) d * (size_t) d);
	for (int64_t r = from; r < to; r += GRAM_ROWS)
	{
		int m = (int) (to - r < GRAM_ROWS ? to - r : GRAM_ROWS);

		blas.ssyrk(
			true, d, m, 1,
			weigh_rows(als, side, rows, r, m, tile + (size_t) d * (size_t) d),
			als->ld, 0, tile, d);
		for (int i = 0; i < d; i++)
			for (int j = 0; j <= i; j++)
				sum[i * d + j] += tile[i * d + j];
		if (team_stopped(team) != RS_OK)
			return team_stopped(team);
	}
	return RS_OK;
}

/* rank 0: sum of the parts, eigenvectors and eigenvalues */
static RsStatus
find_rotation(Ials *als)
{
	int d = als->config.dim;
	double *g = als->part;
	double *value = math_alloc_array(3 * (size_t) d, sizeof(double));
	bool ok;

	if (value == NULL)
		return RS_NO_MEMORY;
	for (int i = 0; i < d; i++)
		for (int j = 0; j <= i; j++)
		{
			double s = 0;

			for (int p = 0; p < IALS_PARTS; p++)
				s += als->part[((size_t) p * (size_t) d + (size_t) i) *
								   (size_t) d +
							   (size_t) j];
			g[i * d + j] = s;
		}
	for (int i = 0; i < d; i++)
		for (int j = 0; j < i; j++)
			g[j * d + i] = g[i * d + j];
	ok = eigen_sym(g, d, value, value + d);
	for (int k = 0; k < als->ld; k++)
		als->spectrum[k] = k < d && value[k] > 0 ? (float) value[k] : 0;
	for (int i = 0; i < d; i++)
		for (int k = 0; k < als->ld; k++)
			als->rotation[i * als->ld + k] = k < d ? (float) g[i * d + k] : 0;
	math_release(value);
	return ok ? RS_OK : RS_DIVERGED;
}

/* rows (n, ld) times the rotation, in place; this member's tiles */
static RsStatus
rotate(Team *team, const Ials *als, float *rows, int32_t n, float *tile)
{
	int d = als->config.dim;
	size_t ld = (size_t) als->ld;

	for (int64_t r = (int64_t) team->rank * GRAM_ROWS; r < n;
		 r += (int64_t) team->size * GRAM_ROWS)
	{
		int m = (int) (n - r < GRAM_ROWS ? n - r : GRAM_ROWS);
		float *at = rows + (size_t) r * ld;

		memcpy(tile, at, sizeof(float) * (size_t) m * ld);
		blas.sgemm(false, false, m, d, d, 1, tile, als->ld, als->rotation,
				   als->ld, 0, at, als->ld);
		if (team_stopped(team) != RS_OK)
			return team_stopped(team);
	}
	return RS_OK;
}

/* axes of the source: it, the target's prior and start are turned to them */
static RsStatus
to_axes(Team *team, Ials *als, const IalsSide *side, float *target,
		float *source)
{
	size_t d = (size_t) als->config.dim;
	float *tile =
		math_alloc_array((GRAM_ROWS + d) * (size_t) als->ld, sizeof(float));
	RsStatus st = tile == NULL ? RS_NO_MEMORY : RS_OK;

	for (int p = team->rank; p < IALS_PARTS && st == RS_OK; p += team->size)
		st = gram_part(team, als, side, source, p, tile);
	if (st != RS_OK)
		team_stop(team, st);
	st = team_barrier(team);
	if (st == RS_OK && team->rank == 0)
	{
		als->next[0] = 0;
		if ((st = find_rotation(als)) != RS_OK)
		{
			/* an interrupt is the reason that counts */
			RsStatus why = team_stopped(team);

			als->next[1] = why != RS_OK ? why : st;
		}
	}
	if (team_barrier(team) != RS_OK || als->next[1] != 0)
	{
		math_release(tile);
		st = team_stopped(team);
		return st != RS_OK ? st : (RsStatus) als->next[1];
	}
	st = rotate(team, als, source, side->data.n_cols, tile);
	if (st == RS_OK && side->prior != NULL)
		st = rotate(team, als, side->prior,
					side->one_prior ? 1 : side->data.n_rows, tile);
	if (st == RS_OK && als->config.block > 0)
		st = rotate(team, als, target, side->data.n_rows, tile);
	math_release(tile);
	if (st != RS_OK)
		team_stop(team, st);
	return team_barrier(team);
}

static RsStatus
solve_units(Team *team, Ials *als, const IalsSide *side, float *target,
			const float *source)
{
	IalsRow row;
	int32_t n = side->data.n_rows;
	RsStatus st = ials_row_init(&row, als, side, target, source);

	while (st == RS_OK)
	{
		int64_t unit = __atomic_fetch_add(als->next, 1, __ATOMIC_RELAXED);
		double loss = 0;

		if (unit * IALS_UNIT >= n)
			break;
		for (int64_t r = unit * IALS_UNIT; r < n && r < (unit + 1) * IALS_UNIT;
			 r++)
		{
			if (r + 1 < n)
				ials_row_fetch(&row, (int32_t) r + 1);
			loss += ials_row_solve(&row, (int32_t) r);
		}
		als->unit_loss[unit] = loss;
		st = team_stopped(team);
	}
	ials_row_free(&row);
	return st;
}

RsStatus
ials_half(Team *team, Ials *als, const IalsSide *side, float *target,
		  float *source)
{
	double loss = 0;
	int64_t rows = 0;
	RsStatus st = to_axes(team, als, side, target, source);

	if (st != RS_OK)
		return st;
	if ((st = solve_units(team, als, side, target, source)) != RS_OK)
		team_stop(team, st);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	for (int64_t unit = 0; unit * IALS_UNIT < side->data.n_rows; unit++)
		loss += als->unit_loss[unit];
	rows = side->data.end[side->data.n_rows - 1];
	als->loss = loss / (double) (rows > 0 ? rows : 1);
	return isfinite(loss) ? team_barrier(team) : RS_DIVERGED;
}

RsStatus
ials_epoch(Team *team, Ials *als, const IalsSide *users, const IalsSide *items)
{
	RsStatus st = ials_half(team, als, users, als->w, als->h);

	return st == RS_OK ? ials_half(team, als, items, als->h, als->w) : st;
}

void
ials_copy(const Team *team, const Ials *als, const float *from, int32_t n,
		  float *to, int k, int blocks, float scale)
{
	size_t d = (size_t) als->config.dim;
	int64_t a;
	int64_t b;

	team_range(team, n, &a, &b);
	for (int64_t r = a; r < b; r++)
	{
		const float *in = from + (size_t) r * (size_t) als->ld;
		float *out = to + ((size_t) r * (size_t) blocks + (size_t) k) * d;

		for (size_t c = 0; c < d; c++)
			out[c] = in[c] * scale;
	}
}

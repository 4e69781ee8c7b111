/*
 * spectral.c
 *		Randomised singular vectors of the normalised interaction matrix.
 */
#include "model/spectral.h"

#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/eigen_sym.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define OVERSAMPLE 16
/*
 * columns of the subspace: eigenvectors of these take 0.25 s, of twice as many
 * 2 s. What comes behind them is noise that training fills
 */
#define MOST_COLUMNS (512 + OVERSAMPLE)
#define PASSES 5
#define BLOCK 4096 /* rows of one Gram product */
#define PIECE 256  /* rows of a sparse product at a time */
#define TILE 1024  /* rows that are rotated at a time */
#define PARTS 16   /* of the rows of a Gram product, whatever the team */

typedef struct Spectral
{
	Team *team;
	const DatasetSide *by_user;
	const DatasetSide *by_item;
	int k;           /* columns of the subspace */
	float *q;        /* (n_items, k) */
	float *y;        /* (n_users, k) */
	float *user_inv; /* (n_users) degree^-1/2 */
	float *item_inv; /* (n_items) */
	float *gram;     /* (PARTS, k, k) */
	double *basis;   /* (k, k) eigenvectors of the Gram matrix, by column */
	double *value;   /* (k) */
	double *work;    /* (2 k) */
	float *turn;     /* (k, k) */
	int32_t *bad;    /* the eigenvalues did not converge */
} Spectral;

static int
columns_for(int dim)
{
	return dim < MOST_COLUMNS - OVERSAMPLE ? dim + OVERSAMPLE : MOST_COLUMNS;
}

size_t
spectral_arena_size(int64_t n_users, int64_t n_items, int dim, int members)
{
	size_t k = (size_t) columns_for(dim);
	size_t u = (size_t) n_users;
	size_t i = (size_t) n_items;

	return arena_need(i * k, 4) + arena_need(u * k, 4) + arena_need(u, 4) +
		   arena_need(i, 4) + arena_need(PARTS * k * k, 4) +
		   arena_need(k * k, 8) + arena_need(k, 8) + arena_need(2 * k, 8) +
		   arena_need(k * k, 4) + arena_need(1, 4) +
		   (size_t) members * arena_need(TILE * k, 4);
}

static RsStatus
allocate(Spectral *s, Arena *arena, float **block)
{
	size_t k = (size_t) s->k;
	size_t u = (size_t) s->by_user->n_rows;
	size_t i = (size_t) s->by_item->n_rows;

	s->q = arena_alloc(arena, i * k, 4);
	s->y = arena_alloc(arena, u * k, 4);
	s->user_inv = arena_alloc(arena, u, 4);
	s->item_inv = arena_alloc(arena, i, 4);
	s->gram = arena_alloc(arena, PARTS * k * k, 4);
	s->basis = arena_alloc(arena, k * k, 8);
	s->value = arena_alloc(arena, k, 8);
	s->work = arena_alloc(arena, 2 * k, 8);
	s->turn = arena_alloc(arena, k * k, 4);
	s->bad = arena_alloc(arena, 1, 4);
	for (int m = 0; m < s->team->size; m++)
	{
		float *b = arena_alloc(arena, TILE * k, 4);

		if (b == NULL)
			return RS_NO_MEMORY;
		if (m == s->team->rank)
			*block = b;
	}
	return RS_OK;
}

static void
inverse_degrees(const Team *team, const DatasetSide *side, float *inv)
{
	int64_t from;
	int64_t to;

	team_range(team, side->n_rows, &from, &to);
	for (int64_t r = from; r < to; r++)
	{
		int64_t n = side->end[r] - side->ptr[r];

		inv[r] = n > 0 ? 1 / sqrtf((float) n) : 0;
	}
}

/* out (n_rows, k) = D_row^-1/2 X D_col^-1/2 in */
static RsStatus
multiply(const Spectral *s, const DatasetSide *side, const float *row_inv,
		 const float *col_inv, const float *in, float *out)
{
	int k = s->k;
	int64_t n = side->n_rows;
	int64_t piece;

	/* in pieces: rows differ in length, and not evenly over their numbers */
	while ((piece = team_take(s->team, (n + PIECE - 1) / PIECE)) >= 0)
	{
		RsStatus st = team_stopped(s->team);

		if (st != RS_OK)
			return st;
		for (int64_t r = piece * PIECE; r < n && r < (piece + 1) * PIECE; r++)
		{
			float *o = out + r * k;

			memset(o, 0, (size_t) k * 4);
			for (int64_t p = side->ptr[r]; p < side->end[r]; p++)
			{
				int32_t c = side->index[p];

				vec_axpy(col_inv[c], in + (int64_t) c * k, o, k);
			}
			for (int c = 0; c < k; c++)
				o[c] *= row_inv[r];
		}
	}
	return team_barrier(s->team);
}

/* eigenvectors of X^T X into s->basis and s->value */
static RsStatus
gram_eigen(Spectral *s, const float *x, int64_t n)
{
	int k = s->k;
	size_t kk = (size_t) k * (size_t) k;
	int64_t part;
	RsStatus st;

	while ((part = team_take(s->team, PARTS)) >= 0)
	{
		float *sum = s->gram + (size_t) part * kk;
		int64_t to = n * (part + 1) / PARTS;

		memset(sum, 0, kk * 4);
		for (int64_t r = n * part / PARTS;
			 r < to && team_stopped(s->team) == RS_OK; r += BLOCK)
			blas.ssyrk(true, k, (int) (to - r < BLOCK ? to - r : BLOCK), 1,
					   x + r * k, k, 1, sum, k);
	}
	st = team_barrier(s->team);
	if (st == RS_OK && s->team->rank == 0)
	{
		for (int a = 0; a < k; a++)
			for (int b = 0; b <= a; b++)
			{
				double sum = 0;

				for (int m = 0; m < PARTS; m++)
					sum += s->gram[(size_t) m * kk + (size_t) (a * k + b)];
				s->basis[a * k + b] = s->basis[b * k + a] = sum;
			}
		*s->bad = !eigen_sym(s->basis, k, s->value, s->work);
	}
	if (st == RS_OK)
		st = team_barrier(s->team);
	return st == RS_OK && *s->bad ? RS_DIVERGED : st;
}

/*
 * x (n, k) = x V diag(f), V the eigenvectors and f = value^power where the
 * value counts, else 0; block (TILE, k) is this member's.
 */
static RsStatus
rotate(Spectral *s, float *x, int64_t n, double power, float *block)
{
	int k = s->k;
	double floor = s->value[0] > 0 ? s->value[0] * 1e-5 : 1;
	int64_t tile;

	if (s->team->rank == 0)
		for (int a = 0; a < k; a++)
			for (int b = 0; b < k; b++)
				s->turn[a * k + b] = s->value[b] > floor
										 ? (float) (s->basis[a * k + b] *
													pow(s->value[b], power))
										 : 0;
	if (team_barrier(s->team) != RS_OK)
		return team_stopped(s->team);
	/* whole tiles, so that products have the same shape in any team */
	while (team_stopped(s->team) == RS_OK &&
		   (tile = team_take(s->team, (n + TILE - 1) / TILE)) >= 0)
	{
		int64_t r = tile * TILE;
		int m = (int) (n - r < TILE ? n - r : TILE);

		memcpy(block, x + r * k, (size_t) m * (size_t) k * 4);
		blas.sgemm(false, false, m, k, k, 1, block, k, s->turn, k, 0, x + r * k,
				   k);
	}
	return team_barrier(s->team);
}

/* the first dim columns of src (n, k), and noise where nothing is */
static RsStatus
emit(const Spectral *s, const float *src, int64_t n, int dim, uint64_t seed,
	 float *dst)
{
	int64_t from;
	int64_t to;

	team_range(s->team, n, &from, &to);
	for (int64_t r = from; r < to && team_stopped(s->team) == RS_OK; r++)
	{
		Rng rng;

		rng_init(&rng, seed, (uint64_t) r);
		for (int c = 0; c < dim; c++)
			dst[r * dim + c] = (c < s->k ? src[r * s->k + c] : 0) +
							   1e-5f * (float) rng_normal(&rng);
	}
	return team_barrier(s->team);
}

static RsStatus
subspace(Spectral *s, uint64_t seed, float *block)
{
	int64_t n_items = s->by_item->n_rows;
	int64_t n_users = s->by_user->n_rows;
	int64_t from;
	int64_t to;
	RsStatus st;

	inverse_degrees(s->team, s->by_user, s->user_inv);
	inverse_degrees(s->team, s->by_item, s->item_inv);
	team_range(s->team, n_items, &from, &to);
	for (int64_t r = from; r < to; r++)
	{
		Rng rng;

		rng_init(&rng, seed, ((uint64_t) 1 << 41) + (uint64_t) r);
		for (int c = 0; c < s->k; c++)
			s->q[r * s->k + c] = (float) rng_normal(&rng);
	}
	st = team_barrier(s->team);
	for (int pass = 0; pass < PASSES && st == RS_OK; pass++)
	{
		st = multiply(s, s->by_user, s->user_inv, s->item_inv, s->q, s->y);
		if (st == RS_OK)
			st = multiply(s, s->by_item, s->item_inv, s->user_inv, s->y, s->q);
		if (st == RS_OK)
			st = gram_eigen(s, s->q, n_items);
		if (st == RS_OK)
			st = rotate(s, s->q, n_items, -0.5, block);
	}
	/* Rayleigh-Ritz: y = N q, y^T y = V S^2 V^T */
	if (st == RS_OK)
		st = multiply(s, s->by_user, s->user_inv, s->item_inv, s->q, s->y);
	if (st == RS_OK)
		st = gram_eigen(s, s->y, n_users);
	if (st == RS_OK)
		st = rotate(s, s->y, n_users, -0.25, block);
	if (st == RS_OK)
		st = rotate(s, s->q, n_items, 0.25, block);
	return st;
}

RsStatus
spectral_vectors(Team *team, const DatasetSide *by_user,
				 const DatasetSide *by_item, int dim, uint64_t seed,
				 Arena *arena, float *users, float *items)
{
	size_t mark = arena_mark(arena);
	Spectral s = {team, by_user, by_item, columns_for(dim)};
	float *block = NULL;
	RsStatus st = allocate(&s, arena, &block);

	if (st == RS_OK)
		st = subspace(&s, seed, block);
	if (st == RS_OK)
		st = emit(&s, s.y, by_user->n_rows, dim, seed, users);
	if (st == RS_OK)
		st = emit(&s, s.q, by_item->n_rows, dim, ~seed, items);
	arena_reset(arena, mark);
	return st;
}

/*
 * ials.h
 *		Implicit alternating least squares, closed form row by row.
 *
 * Hu, Koren, Volinsky 2008 with the regularisation of Rendle, Krichene,
 * Zhang, Koren 2021: minimise over W (users) and H (items)
 *
 *	sum over interactions c (w_u.h_i - 1)^2 + a0 sum over all (w_u.h_i)^2
 *		+ lambda (sum_u n_u^nu |w_u|^2 + sum_i n_i^nu |h_i|^2),
 *	n_u = |S_u| + a0 |I|, n_i = |S_i| + a0 |U|
 *
 * optionally with |w_u - prior_u|^2 in place of |w_u|^2 (features), and with
 * a0 q_u in place of a0, q_u with mean 1 over those who have interactions: what
 * somebody active has not chosen says more than what somebody has not who
 * hardly came by. One half of an epoch solves all rows of one side exactly.
 * Before it the other side
 * is rotated to the axes of its Gram matrix, which changes no score, but
 * makes the part that all rows share diagonal: D_u = a0 diag(G) + lambda_u I.
 * In coordinates scaled by D_u^-1/2 a row with n interactions is then either
 * a d x d system (X^T X + I) z = X^T t, or, when n < d, the n x n system
 * (X X^T + I) y = t, z = X^T y: most rows of real data have few interactions,
 * and n^2 d is much less than d^3.
 *
 * With many dimensions a long row is not solved for exactly, but improved
 * block by block of its coordinates, once in a half (iALS++, Rendle,
 * Krichene, Zhang, Koren 2021): n d b + d b^2 in place of n d^2 + d^3. Then
 * the target's old rows are turned to the new axes as well, to start from.
 *
 * Work is cut into units that do not depend on the team, so the result has
 * the same bytes for any number of workers.
 */
#ifndef RECSYS_IALS_H
#define RECSYS_IALS_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"

typedef struct IalsConfig
{
	int dim;
	float alpha0;
	float lambda;
	float nu;
	uint64_t seed;
	int block; /* columns of long rows solved at a time; 0: always all */
} IalsConfig;

typedef struct Ials
{
	IalsConfig config;
	int ld; /* dim rounded up to 16; the rest of a row is zero */
	int32_t n_users;
	int32_t n_items;
	double loss; /* of the last half, the same for every member */
	bool ok;     /* false: a system was not positive definite, or NaN */

	/* shared */
	float *w;          /* (n_users, ld) */
	float *h;          /* (n_items, ld) */
	double *part;      /* (IALS_PARTS, dim, dim) partial Gram matrices */
	float *rotation;   /* (dim, ld) */
	float *spectrum;   /* (ld) eigenvalues of the Gram matrix */
	double *unit_loss; /* (units) */
	int64_t *next;     /* work counter, and flags */
} Ials;

/* weights (n) or NULL; prior or NULL */
typedef struct IalsSide
{
	DatasetSide data;
	const float *weight; /* c of each interaction, as data.index */
	float *prior;        /* (rows, ld), or (1, ld) for all rows */
	bool one_prior;
	const float *row_zeros; /* q of the rows, NULL: 1 */
	const float *col_zeros; /* q of the columns; at most one of the two */
} IalsSide;

extern size_t ials_size(const IalsConfig *config, int32_t n_users,
						int32_t n_items);
/* room for the factors of config; each training begins with ials_restart */
extern RsStatus ials_init(Arena *arena, const IalsConfig *config,
						  int32_t n_users, int32_t n_items, Ials *als);
/* random item vectors, users zero; config of no more dimensions than the room */
extern RsStatus ials_restart(Team *team, Ials *als, const IalsConfig *config);
/* solve all users, then all items; als->loss is the mean of the items' half */
extern RsStatus ials_epoch(Team *team, Ials *als, const IalsSide *users,
						   const IalsSide *items);
/* only one half: rows of target (which block starts from) from source */
extern RsStatus ials_half(Team *team, Ials *als, const IalsSide *side,
						  float *target, float *source);
/*
 * Rows (n, ld) without padding, times scale, as block k of the `blocks`
 * blocks of dim columns of to (n, blocks * dim).
 */
extern void ials_copy(const Team *team, const Ials *als, const float *from,
					  int32_t n, float *to, int k, int blocks, float scale);

#endif

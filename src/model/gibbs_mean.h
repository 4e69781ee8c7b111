/*
 * gibbs_mean.h
 *		The average over samples as one inner product.
 *
 * The posterior mean of the scores is (1/K) sum_k P_k Q_k^T, plus averages of
 * the biases, which simply add up. Exact would be one long concatenation;
 * this keeps the best approximation of rank R that subspace iteration finds:
 *
 *	users: | rank R so far | sample | sample | ...   (n, columns)
 *	items: | rank R so far | sample | sample | ...
 *
 * When the columns are full, Y = orthonormal basis of the users' range (a few
 * power iterations from random starts), users <- Y, items <- items users^T Y.
 * All of that is linear in a row, so that more rows, which the basis is not
 * made for, can come along: what features add to a vector. Columns of the
 * context count as rows of both sides, each as heavily as the users (items)
 * that have as many ratings: what only the context uses of a factor must not
 * be lost with the factor.
 */
#ifndef RECSYS_GIBBS_MEAN_H
#define RECSYS_GIBBS_MEAN_H

#include "model/gibbs.h"

typedef struct GibbsMean
{
	int rank;        /* R */
	int columns;     /* R plus room for samples */
	int used;        /* columns filled */
	int samples;     /* so far */
	int32_t context; /* columns of the context */
	/* columns of the tables of features and one for what all get; or 0 */
	int32_t extra[2];
	/* of users and items, context, extra; shared */
	float *rows[2];  /* (n + context + extra, columns) */
	float *basis[2]; /* (n + context + extra, rank) */
	double *bias[2]; /* (n + context + extra) sums of biases */
	double *gram;    /* (RANK_CHUNKS, rank, rank) shared */
	float *small;    /* (RANK_CHUNKS, columns, rank) shared */
} GibbsMean;

static inline size_t
gibbs_mean_rows(const GibbsMean *m, int side, int32_t n)
{
	return (size_t) n + (size_t) m->context + (size_t) m->extra[side];
}

/* what the context's column c is multiplied with before it is a row */
extern float gibbs_mean_weight(const Gibbs *g, int side, int32_t c);
/* a dry arena measures; false when it is full; context, extra set before */
extern bool gibbs_mean_layout(GibbsMean *m, Arena *arena, int rank, int dim,
							  int32_t n_users, int32_t n_items);
extern RsStatus gibbs_mean_add(GibbsMean *m, Gibbs *g);
/* basis[0], basis[1] (n, rank): their products are the mean of scores */
extern RsStatus gibbs_mean_finish(GibbsMean *m, Gibbs *g);

#endif

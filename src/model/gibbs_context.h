/*
 * gibbs_context.h
 *		Features of the occasion in the Bayesian factorization.
 *
 *	score(u, i, c) = <P[u] + T[c], Q[i] + S[c]> + biases of all four
 *
 * T[c] = sum over the context's columns of value times the column's vector,
 * and S[c] alike: a place changes which items are liked (T with Q), and what
 * is liked by whom (P with S). Columns' vectors are normal around zero with a
 * precision of their own for each feature and coordinate, drawn as all
 * others: what says nothing shrinks to zero. Columns of which no rating has
 * two (a colour) do not depend on each other, so the team draws them at the
 * same time; what each rating lacks is kept up to date in between.
 *
 * Given the context, users and items are drawn as ever, but every rating
 * brings a vector of its own: accumulate below takes the place of that of
 * gibbs_side.c.
 */
#ifndef RECSYS_GIBBS_CONTEXT_H
#define RECSYS_GIBBS_CONTEXT_H

#include "model/context.h"
#include "model/gibbs.h"

struct GibbsContext
{
	Context data; /* in the order of ratings */
	ContextColumns by;
	int64_t *ptr; /* of data, shared */
	int32_t *col;
	float *val;
	/* shared: what a column adds to a user's (0) or an item's (1) vector */
	float *map[2];   /* (n_cols, width), bias at [dim] */
	float *offset;   /* (n) what the context adds to a rating's score */
	float *error;    /* (n) target less score, while maps are drawn */
	float *other;    /* (n, width) vectors of the other side in each rating's
					  * context, while maps are drawn; NULL: too many */
	int32_t *user;   /* (n) of each rating */
	int32_t *colour; /* (n_cols) columns by colour */
	int32_t *start;  /* (n_cols + 2) start[0] colours, then where each begins */
	/* private, the same in every member */
	float (*lambda[2])[GIBBS_WIDTH]; /* (n_groups) */
};

/* a dry arena measures */
extern bool gibbs_context_layout(GibbsContext *x, Arena *arena,
								 const JobInput *in, int width);
/* whole team; no barrier at the end is left out. Private memory: free it */
extern RsStatus gibbs_context_init(GibbsContext *x, Gibbs *g);
extern void gibbs_context_free(GibbsContext *x);

/*
 * square (full, width) += sum p z z^T, vector (width) += sum p z t over the
 * ratings of row r of side s
 */
extern void gibbs_context_see(const Gibbs *g, const GibbsSide *s, int32_t r,
							  float *square, float *vector);
/* new maps given users and items, and offsets; whole team */
extern RsStatus gibbs_context_draw(Gibbs *g);

#endif

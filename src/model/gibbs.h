/*
 * gibbs.h
 *		Bayesian factorization of ratings by Gibbs sampling.
 *
 * Model, in the spirit of BPMF (Salakhutdinov, Mnih 2008) and of Bayesian
 * factorization machines with relation blocks (Rendle 2013):
 *
 *	score(u, i) = sum_f P[u][f] Q[i][f] + P[u][d] + Q[i][d]
 *	P[u] = v[u] + sum_c x[u][c] beta[c],   v[u] ~ N(mu, 1 / lambda)
 *	beta[c] ~ N(0, 1 / lambda of c's group)
 *	lambda ~ Gamma(1/2, 1/2), of a group Gamma(1/2, GIBBS_SET_RATE / 2)
 *	mu ~ N(0, 1 / lambda)
 *
 * and the same for Q; d is the number of factors, coordinate d the bias, and
 * lambda, mu one for each coordinate; mu of the items' bias is 0, since the
 * users' has the mean of all. x are features of the user: the items that he
 * rated (value n^-1/2), the days on which he did, age, ... A rating is the
 * score plus normal noise of precision alpha ~ Gamma(1/2, 1/2), or ordinal:
 * a level is seen where score plus standard normal noise lies between two
 * cutpoints, which have the mean of all, so that mu of either bias is 0.
 *
 * One sweep draws everything of the user side given the item side, and vice
 * versa. Given the item side, a user is seen through A[u] = sum z z^T and
 * g[u] = sum z t over his ratings (z: the item's vector with 1 for the bias,
 * t: rating minus the item's bias), so beta can be drawn with v integrated
 * out: a linear system with K = lambda + X^T H X, H[u] = L - L (L + A[u])^-1
 * L, solved by conjugate gradients with a perturbed right side, which makes
 * the solution a draw (Papandreou, Yuille 2010). After that v[u] | beta is a
 * small normal draw. gibbs_side.c has all that, sixteen users at a time
 * (gibbs_kernels.h); gibbs_cg.c the system for beta; gibbs_link.c the noise,
 * gibbs_ordinal.c cutpoints and latent values; gibbs_mean.c the average over
 * samples as one inner product.
 *
 * Work is cut into chunks that do not depend on the team, and every random
 * number is named by (sweep, side, row): any team gives the same bytes.
 */
#ifndef RECSYS_GIBBS_H
#define RECSYS_GIBBS_H

#include "math/arena.h"
#include "math/team.h"
#include "math/vec.h"
#include "model/gibbs_kernels.h"
#include "model/normals.h"
#include "model/rank_common.h"

#define GIBBS_MAX_BLOCKS 8
#define GIBBS_MAX_GROUPS (JOB_MAX_FEATURE_GROUPS + GIBBS_MAX_BLOCKS)
#define GIBBS_MAX_DIM 128 /* factors */
#define GIBBS_WIDTH (GIBBS_MAX_DIM + LANES)
#define GIBBS_MAX_LEVELS 32
#define GIBBS_BINS 256
/*
 * Rate of the prior of a feature's precision. With 1, as factorization
 * machines have it, four columns cannot have less than .45 of standard
 * deviation, and what says nothing never shrinks (README.md).
 */
#define GIBBS_SET_RATE 0.003
/* classes of noise precision in the ordinal model, the middle one is 1 */
#define GIBBS_USER_NOISE 17
#define GIBBS_ITEM_NOISE 9
#define GIBBS_NOISE (GIBBS_USER_NOISE + GIBBS_ITEM_NOISE - 1)
#define GIBBS_NOISE_STEP 1.15 /* ratio of the roots of neighbours */

/* some features of one side, both ways: by row and by column */
typedef struct GibbsBlock
{
	int32_t n_cols;
	int32_t first; /* its first column among all of the side's */
	const int64_t *ptr;
	const int64_t *end;
	const int32_t *col;
	const float *val;       /* NULL: 1 */
	const float *row_scale; /* (n) factor of all values of a row; NULL: 1 */
	const int64_t *col_ptr;
	const int64_t *col_end;
	const int32_t *row;
	const float *col_val; /* as val, by column */
} GibbsBlock;

/* users given items, or the other way; arrays shared, the rest private */
typedef struct GibbsSide
{
	int number; /* 0 users, 1 items */
	int32_t n;
	const int64_t *ptr; /* ratings of a row: index[ptr[r] .. end[r]-1] */
	const int64_t *end;
	const int32_t *index;
	const int64_t *place; /* of each rating in the list by user; NULL: same */
	int32_t n_groups;     /* of lanes */
	float *vec;           /* (n, width) current vectors, bias at [dim] */
	float *design;        /* (n, width) the same with 1 at [dim] */
	float *bias;          /* (n) */
	float *noise;         /* (n) precision factor of the row's ratings */
	uint8_t *noise_class; /* (n) ordinal: which class the factor is of */
	Lanes *lower;         /* (n_groups, triangle) */
	Lanes *linear;        /* (n_groups, dim + 1) */

	/* features */
	int n_blocks;
	GibbsBlock blocks[GIBBS_MAX_BLOCKS];
	int32_t n_cols;
	int n_sets; /* sets of columns with a lambda of their own */
	int32_t set_start[GIBBS_MAX_GROUPS + 1];
	Lanes *hessian;  /* (n_groups, triangle) H */
	float *row_work; /* (n, width) */
	float *fit;      /* (n, width) X beta */
	float *beta;     /* (n_cols, width) */
	float *residual; /* (n_cols, width) and so on: conjugate gradients */
	float *direction;
	float *image;
	float *diagonal;
	double *group_dot; /* (n_groups) of a product by rows: b^T X^T H X b */

	/* private, the same in every member */
	float mu[GIBBS_WIDTH];
	float lambda[GIBBS_WIDTH];
	float (*set_lambda)[GIBBS_WIDTH]; /* (n_sets) */
} GibbsSide;

typedef struct GibbsContext GibbsContext; /* gibbs_context.h */

typedef struct Gibbs
{
	RankRun *run;
	GibbsContext *context; /* features of ratings; NULL: none */
	const float *offset;   /* (n) what they add to a score; NULL: none */
	int dim;               /* factors */
	int full;              /* dim + 1 */
	int width;             /* full rounded up, of a stored vector */
	int sweep;             /* from 1 */
	uint64_t seed;
	bool ordinal;
	bool free_mean;        /* the users' bias may have a mean: Gaussian only */
	bool own_noise;        /* noise precision by user and item */
	double noise_shape[2]; /* of the noise factors' prior, users and items */
	int cg_steps;
	float cg_tolerance;
	GibbsSide side[2];
	const float *rating; /* (n) standardised, or level number */
	float *target;       /* (n) by user: rating, or latent value */
	double alpha;        /* noise precision */

	int n_levels;
	double cut[GIBBS_MAX_LEVELS + 1]; /* cut[0] -inf .. cut[n_levels] inf */
	int32_t *histogram; /* (team, levels, noise, bins) of scores, shared */

	double *sums; /* (RANK_CHUNKS, sums_width) shared */
	int sums_width;
	char *scratch; /* private */
} Gibbs;

/* gibbs_side.c */
extern size_t gibbs_scratch_size(const Gibbs *g);
extern RsStatus gibbs_draw_side(Gibbs *g, GibbsSide *s);
extern void gibbs_init_side(Gibbs *g, GibbsSide *s);
/* a stream of random numbers for something of this sweep */
extern uint64_t gibbs_stream(const Gibbs *g, int side, int what, int64_t row);
/* floats of set c's lambda */
extern int gibbs_set_of(const GibbsSide *s, int32_t col, int hint);

/* gibbs_cg.c: draw beta; row_work holds the rows' linear terms */
extern RsStatus gibbs_draw_beta(Gibbs *g, GibbsSide *s);

/* gibbs_link.c */
extern RsStatus gibbs_draw_noise(Gibbs *g);
/* squared errors of item i's ratings, weighted by the users' noise */
extern double gibbs_item_squares(const Gibbs *g, int64_t i);
/* chunks of users or items among the team, then a barrier */
typedef void (*GibbsChunkWork)(Gibbs *g, int c);
extern RsStatus gibbs_all_chunks(Gibbs *g, GibbsChunkWork work);

/* gibbs_ordinal.c */
extern RsStatus gibbs_draw_latent(Gibbs *g);
extern size_t gibbs_ordinal_scratch(void);
/* rank 0, after a sweep: minus the mean log likelihood of the ratings */
extern double gibbs_ordinal_loss(const Gibbs *g);
extern void gibbs_init_cuts(Gibbs *g, const int64_t *count);

static inline double
gibbs_score(const Gibbs *g, const float *user, int32_t item)
{
	const GibbsSide *q = &g->side[1];

	return vec_dot(user, q->design + (size_t) item * (size_t) g->width,
				   g->width) +
		   (double) q->bias[item];
}

/* the same of rating r, in its context */
static inline double
gibbs_rating_score(const Gibbs *g, const float *user, int32_t item, int64_t r)
{
	return gibbs_score(g, user, item) +
		   (g->offset != NULL ? (double) g->offset[r] : 0);
}

/* chunk c of n things: [*from, *to) */
static inline void
gibbs_chunk(int64_t n, int c, int64_t *from, int64_t *to)
{
	*from = n * c / RANK_CHUNKS;
	*to = n * (c + 1) / RANK_CHUNKS;
}

#endif

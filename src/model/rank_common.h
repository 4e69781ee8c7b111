/*
 * rank_common.h
 *		What the learners of the ranking stage share.
 */
#ifndef RECSYS_RANK_COMMON_H
#define RECSYS_RANK_COMMON_H

#include "math/arena.h"
#include "math/team.h"
#include "model/context.h"
#include "model/dataset.h"
#include "model/job.h"
#include "model/predict.h"

#define RANK_BINS 65536 /* of probabilities, for the area under the curve */
#define RANK_CHUNKS 64  /* parts of a sum; fixed, so teams do not matter */

/* one ranking stage; a private copy in every member */
typedef struct RankRun
{
	Team *team;
	JobShared *job;
	Arena *arena;
	const Dataset *ds;
	const Context *context; /* of the interactions; NULL: none */
	double started;         /* rank_clock at the start */
	double limit;           /* rank_clock by which this run should end */
	bool all;               /* train on held-out rows as well */
	bool quick;             /* only for the metrics, another run follows */
	int best_epoch;         /* of the run before, 0: none */
	bool binary;            /* targets are 1 for positives and 0 */
	double *chunk;          /* (RANK_CHUNKS, 4) shared */
	int64_t *bins;   /* (2, RANK_BINS) held-out rows by prediction, shared */
	int first_param; /* those before it are the retrieval stage's */
} RankRun;

/* how far predictions are from held-out ratings */
typedef struct RankError
{
	int64_t n;
	double rmse;
	double mae;
	double log_loss; /* of probabilities, when targets are binary */
	double auc;      /* area under the ROC curve, likewise */
} RankError;

/* damped means: rating ~ mean + user[u] + item[i] (Koren 2008) */
typedef struct RankBias
{
	double mean;
	float *user; /* (n_users) */
	float *item; /* (n_items) */
	float low;   /* least and greatest rating seen in training */
	float high;
	bool clicks; /* answer probabilities: never below a tenth of the mean, nor
				  * the like above, since one surprise counts for many rows */
} RankBias;

extern double rank_clock(void); /* seconds, monotonic */
/*
 * The log loss of a row that is (or is not) positive by probability p; counts it
 * in bins (2, RANK_BINS), of which the area under the curve is: pairs in the
 * right order, ties half; 0.5 when one class is missing.
 */
extern double rank_count_binary(int64_t *bins, double p, bool positive);
extern double rank_area_under_curve(const int64_t *bins);
/* whether the run's limit is over, the same for every member */
extern RsStatus rank_late(RankRun *run, bool *late);

/* floats of the arena that a RankBias and the chunks need */
extern size_t rank_common_size(const JobInput *input);
extern RsStatus rank_common_init(RankRun *run, RankBias *bias);

/* the training rows of user u are [ds->user_ptr[u], rank_user_end) */
static inline int64_t
rank_user_end(const RankRun *run, int32_t u)
{
	return run->all ? run->ds->user_ptr[u + 1] : run->ds->user_end[u];
}

/* for loops over all rows, by user: the barrier behind them says why */
static inline bool
rank_stopped(const RankRun *run, int32_t u)
{
	return (u & 1023) == 0 && team_stopped(run->team) != RS_OK;
}

extern int64_t rank_n_train(const RankRun *run);
/* what row r is to be predicted as */
extern float rank_target(const RankRun *run, int64_t r);
/* standard deviation of the training ratings, 1 when they are all equal */
extern double rank_deviation(const RankRun *run, double mean);

/* fitted by rank 0 to the training rows, all members after the barrier */
extern RsStatus rank_bias_fit(RankRun *run, RankBias *bias);

/* prediction for row r of a user, which is held out, and its item */
typedef float (*RankPredict)(void *arg, int32_t user, int32_t item, int64_t r);

/* over the held-out rows, by the whole team */
extern RsStatus rank_error(RankRun *run, RankPredict predict, void *arg,
						   RankError *error);
extern float rank_bias_predict(void *bias, int32_t user, int32_t item,
							   int64_t r);
/* with the ranking output of the job as it stands */
extern RsStatus rank_output_error(RankRun *run, RankError *error);

/* an array in the arena that is a parameter of the output */
extern float *rank_add_param(RankRun *run, const char *name, int ndim, int s0,
							 int s1);
/* "user_mean" and "item_mean" of these vectors, (n, user_dim) and
 * (n, item_dim) */
extern RsStatus rank_add_means(RankRun *run, const float *users,
							   const float *items, int user_dim, int item_dim);
extern void rank_add_metric(RankRun *run, const char *name, double value,
							double baseline);
/* what was chosen and why, one sentence behind the others */
extern void rank_add_choice(RankRun *run, const char *sentence);
/* "clamp" from the config or else the ratings seen */
extern RsStatus rank_add_clamp(RankRun *run, const RankBias *bias);

#endif

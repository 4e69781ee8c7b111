/*
 * serve_evaluate.h
 *		What the two halves of recsys_evaluate share.
 */
#ifndef RECSYS_SERVE_EVALUATE_H
#define RECSYS_SERVE_EVALUATE_H

#include <math.h>

#include "utils/memutils.h"

#include "model/metrics.h"
#include "serve/serve.h"
#include "store/store_catalog.h"

typedef struct Evaluation
{
	StoreModel model;
	bool exclude_seen;
	int n_k;
	int k[METRICS_MAX_K];
	ServePack *user_pack; /* by key; NULL without a retrieval stage */
	ServePack *item_pack;
	ServeNames users; /* known ones have the numbers of the pack's rows */
	ServeNames items;
	bool has_ratings; /* the ratings table exists */
	ServePairs train; /* the ratings table, by user */
	ServePairs held;  /* the test table, by user */
	ServePairs liked; /* of it, what the training would take as interest */
	Oid test;         /* the test table */
	int64 *train_ptr; /* (users.n + 1) */
	int64 *liked_ptr;
	bool binary;      /* the ranking stage is of clicks: 1 and 0 */
	JobConfig config; /* what is positive */
} Evaluation;

/* some users of the test table, as metrics.c wants them */
typedef struct Part
{
	Dataset ds;
	int32 *who;     /* (ds.n_users) number in Evaluation.users */
	int32 *missing; /* (ds.n_users) test items that are no candidates */
} Part;

/* zeroed memory for n things, of any size */
static inline void *
serve_alloc(Size n, Size size)
{
	if (n > MaxAllocHugeSize / size)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many rows to evaluate")));
	return palloc_extended(n * size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* whether row i is one of interest to the retrieval stage, as for training */
static inline bool
serve_is_interest(const Evaluation *e, const ServePairs *pairs, int64 i)
{
	float rating = pairs->rows[i].rating;

	return !pairs->rated || (isfinite(rating) &&
							 job_is_positive(e->config.positive_kind,
											 e->config.positive_value, rating));
}

/* functions in serve_evaluate.c */

/* of somebody or something unknown, in memory of its own; NULL: none */
extern const float *serve_vector_by_features(const StoreModel *model, bool item,
											 Datum key, bool ranking);

/* functions in serve_errors.c */

/* two measures of the ranking stage, of the model and of the baseline */
typedef struct RatingErrors
{
	const char *name[2]; /* rmse and mae; of clicks auc and log_loss */
	double model[2];
	double baseline[2]; /* NAN: there is none */
} RatingErrors;

/* false when no test row has a rating */
extern bool serve_rating_errors(const Evaluation *e, RatingErrors *errors);

#endif

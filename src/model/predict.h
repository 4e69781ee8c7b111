/*
 * predict.h
 *		Predicted ratings from stored ranking vectors and parameters.
 *
 * What ranking_run leaves in the model's tables (vectors of users and items,
 * named parameters, see JobParam in job.h) is all that a prediction needs.
 * Parameters come out of tables that users can write to, so predict_init
 * checks every name and shape and refuses what does not fit together; after
 * that nothing can read out of bounds. A prediction is never NaN.
 *
 *	predict_init(&p, kind, user_dim, item_dim, params, n)
 *	scratch: predict_scratch(&p) floats
 *	predict_one(&p, user_vector, item_vector, scratch)
 *
 * For somebody or something unknown take p.user_mean or p.item_mean instead
 * of the vector (NULL when the model has none: then use its stored mean).
 */
#ifndef RECSYS_PREDICT_H
#define RECSYS_PREDICT_H

#include <stdbool.h>
#include <stddef.h>

#include "math/status.h"
#include "model/job.h"

#define PREDICT_MAX_LAYERS (JOB_MAX_HIDDEN + 1)
#define PREDICT_MAX_CROSS JOB_MAX_CROSS

/* a parameter as it lies in memory; names and shapes as for JobParam */
typedef struct PredictParam
{
	const char *name;
	int ndim;
	int shape[4];
	const float *data; /* product of shape */
} PredictParam;

typedef struct PredictLayer
{
	int in;
	int out;
	const float *kernel; /* (in, out) */
	const float *bias;   /* (out) */
} PredictLayer;

/* points into the parameters, which must outlive it */
typedef struct Predictor
{
	JobRanking kind;
	int user_dim;
	int item_dim; /* equal to user_dim for RANKING_FACTOR */
	float low;    /* least and greatest prediction */
	float high;
	bool logistic; /* the answer is a probability */

	/* ordinal link, n_levels 0 when there is none */
	int n_levels;
	const float *levels;    /* (n_levels), rising */
	const float *cutpoints; /* (n_levels - 1), rising */
	float variance;
	bool noise; /* the vectors' last coordinates give the noise */

	/* RANKING_MLP */
	int n_cross;
	PredictLayer cross[PREDICT_MAX_CROSS]; /* in = out = user + item dim */
	int n_layers;
	PredictLayer layers[PREDICT_MAX_LAYERS]; /* the last has out = 1 */

	const float *user_mean; /* (user_dim), or NULL */
	const float *item_mean; /* (item_dim), or NULL */
} Predictor;

/* RS_INVALID with a reason in problem (may be NULL) when nothing fits */
extern RsStatus predict_init(Predictor *p, JobRanking kind, int user_dim,
							 int item_dim, const PredictParam *params,
							 int n_params, const char **problem);
/* the parameters of a finished job, for evaluation inside job_run */
extern int predict_params_of_job(const JobShared *job, PredictParam *params);
/* floats of scratch space that predict_one needs */
extern size_t predict_scratch(const Predictor *p);
extern float predict_one(const Predictor *p, const float *user,
						 const float *item, float *scratch);
/* from the raw score of a model to the answer: link and clamp */
extern float predict_link(const Predictor *p, float score, float noise);

#endif

/*
 * gibbs_setup.h
 *		What a training by Gibbs sampling consists of, and its start.
 */
#ifndef RECSYS_GIBBS_SETUP_H
#define RECSYS_GIBBS_SETUP_H

#include "model/gibbs.h"
#include "model/gibbs_context.h"
#include "model/gibbs_mean.h"

#define PAIRS 4096 /* of users and items, to measure the variance with */

typedef struct GibbsPlan
{
	int dim;
	int sweeps;
	int burn;
	int rank;
	bool ordinal;
	bool implicit[2]; /* features: what the row's ratings are of */
	bool given[2];    /* features from the tables */
} GibbsPlan;

/* features from the tables by column, and their rows; shared */
typedef struct GibbsGiven
{
	int64_t *col_ptr; /* (n_cols + 1) */
	int32_t *row;     /* (nnz) */
	float *val;       /* (nnz) */
} GibbsGiven;

typedef struct GibbsTrain
{
	RankRun *run;
	GibbsPlan plan;
	Gibbs g;
	GibbsMean mean;
	GibbsGiven given[2];
	GibbsContext context;
	double shift;
	double scale;
	float *scaled;  /* (n) standardised ratings or level numbers */
	float *root[2]; /* (n) number of ratings ^ -1/2 */
	float levels[GIBBS_MAX_LEVELS];
	double cut_sum[GIBBS_MAX_LEVELS + 1];
	float *out[2]; /* (n + context + extra, rank + 2), one more for an ordinal
					* model */
	double *noise_sum[2]; /* (n) of noise variances, shared */
	int32_t *pair; /* (2 PAIRS) rank 0: users and items to measure with */
	double *pair_sum;
} GibbsTrain;

extern void gibbs_plan(GibbsPlan *p, const JobConfig *config,
					   const JobInput *input);
/* every allocation; with a dry arena it measures */
extern bool gibbs_layout(GibbsTrain *t, Arena *arena, const JobInput *in,
						 int workers);
/* ratings, features and first vectors; called by the whole team */
extern RsStatus gibbs_prepare(GibbsTrain *t, const RankBias *bias);

#endif

/*
 * feature_prior.h
 *		What features say about factors: a ridge regression of them.
 *
 * A (columns, d) minimises sum_r weight_r |w_r - f_r A|^2 + ridge |A|^2 over
 * the rows of a side, and prior_r = f_r A. Implicit ALS pulls its factors to
 * that prior instead of to zero (ials.h), so users and items with few
 * interactions lean on their features and those with none are placed by them
 * alone. A constant column is added: what nothing is known about gets the
 * mean. The normal equations are solved by conjugate gradients with the
 * diagonal as preconditioner, all d right sides at once, so that a million
 * columns are as possible as ten.
 */
#ifndef RECSYS_FEATURE_PRIOR_H
#define RECSYS_FEATURE_PRIOR_H

#include "math/arena.h"
#include "math/status.h"
#include "math/team.h"
#include "model/dataset.h"
#include "model/job.h"

typedef struct FeaturePrior
{
	int32_t n_rows;
	int32_t n_cols; /* the constant included, as the last one */
	int ld;         /* floats a row of factors */
	const int64_t *ptr;
	const int32_t *col;
	const float *val;

	/* shared */
	float *weight; /* (n_rows) */
	float *prior;  /* (n_rows, ld) */
	float *y;      /* (n_rows, ld) */
	float *a;      /* (n_cols, ld) */
	float *r;      /* (n_cols, ld) residuals */
	float *p;      /* (n_cols, ld) directions */
	float *q;      /* (n_cols, ld) */
	float *diag;   /* (n_cols) */
	double *rho;   /* (3, ld) */
} FeaturePrior;

extern size_t feature_prior_size(const JobFeatures *features, int ld);
extern RsStatus feature_prior_init(Arena *arena, const JobShared *job,
								   const JobFeatures *features, int ld,
								   FeaturePrior *fp);
/*
 * prior from factors (n_rows, ld); fp->weight set before. Whole team; ld may
 * be less than at init.
 */
extern RsStatus feature_prior_fit(Team *team, FeaturePrior *fp, int ld,
								  const float *factors);

/*
 * The coefficients of the last fit, times scale, as block k of the `blocks`
 * blocks of dim columns of map (n_cols, blocks * dim).
 */
extern void feature_prior_map(Team *team, const FeaturePrior *fp, int ld,
							  int dim, float scale, float *map, int k,
							  int blocks);
/* rows (n_rows, width) of the side that have no interactions: F map */
extern void feature_prior_place(Team *team, const FeaturePrior *fp,
								const DatasetSide *side, const float *map,
								int width, float *rows);

#endif

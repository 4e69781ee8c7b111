/*
 * retrieval_prior.h
 *		Features of one side in implicit ALS: the prior of its factors, and
 *		the vectors of those who have nothing but features.
 */
#ifndef RECSYS_RETRIEVAL_PRIOR_H
#define RECSYS_RETRIEVAL_PRIOR_H

#include "model/feature_prior.h"
#include "model/retrieval_int.h"

typedef struct RetrievalPrior
{
	FeaturePrior fp; /* n_rows 0: no features */
	float *map;      /* (columns + 1, width), see user_map in JobOutput */
} RetrievalPrior;

/*
 * The mean of one side's factors, weighted by their regularisation: what they
 * are pulled to where there are no features. Rows with few interactions then
 * go by popularity, where zero would leave them to the noise.
 */
typedef struct RetrievalMean
{
	double *part; /* (parts, ld + 1): sums and weights, whatever the team */
	float *mean;  /* (ld) */
} RetrievalMean;

/* ld: floats of a row of factors at most; width: of a vector of the model */
extern size_t retrieval_prior_size(const JobFeatures *f, int ld, int width);
extern RsStatus retrieval_prior_init(Retrieval *r, const JobFeatures *f, int ld,
									 int width, RetrievalPrior *p);
extern size_t retrieval_mean_size(int ld);
extern RsStatus retrieval_mean_init(Retrieval *r, int ld, RetrievalMean *m);
/* the mean of factors (rows of the side, ld) into m->mean */
extern RsStatus retrieval_mean_fit(Retrieval *r, RetrievalMean *m,
								   const Ials *als, const IalsSide *side,
								   const float *factors);
/* factors of one side as its features explain them, into side->prior */
extern RsStatus retrieval_prior_fit(Retrieval *r, RetrievalPrior *p,
									const Ials *als, IalsSide *side,
									const float *factors);
/*
 * After the last epoch: block k of `blocks` blocks of the map, from the
 * factors as they are, times scale; and with the last block the vectors
 * (rows, blocks * dim) of rows without interactions.
 */
extern RsStatus retrieval_prior_finish(Retrieval *r, RetrievalPrior *p,
									   const Ials *als, IalsSide *side,
									   const float *factors, float scale, int k,
									   int blocks, float *rows);

#endif

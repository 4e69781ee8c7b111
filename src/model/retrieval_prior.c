/*
 * retrieval_prior.c
 *		Features of one side in implicit ALS.
 *
 * In every epoch the features' prior is fitted anew to the factors before
 * they are solved for. After the last one it is fitted once more: its
 * coefficients are what the model stores of the features, so that somebody
 * who comes later gets the vector that he would have got by training.
 */
#include "model/retrieval_prior.h"

#include <math.h>

size_t
retrieval_prior_size(const JobFeatures *f, int ld, int width)
{
	if (f->n_rows == 0)
		return 0;
	return feature_prior_size(f, ld) +
		   arena_need(((size_t) f->n_cols + 1) * (size_t) width, sizeof(float));
}

RsStatus
retrieval_prior_init(Retrieval *r, const JobFeatures *f, int ld, int width,
					 RetrievalPrior *p)
{
	if (f->n_rows == 0)
		return RS_OK;
	p->map = arena_alloc(r->arena, ((size_t) f->n_cols + 1) * (size_t) width,
						 sizeof(float));
	return p->map == NULL ? RS_NO_MEMORY
						  : feature_prior_init(r->arena, r->job, f, ld, &p->fp);
}

RsStatus
retrieval_prior_fit(Retrieval *r, RetrievalPrior *p, const Ials *als,
					IalsSide *side, const float *factors)
{
	const IalsConfig *c = &als->config;
	const DatasetSide *data = &side->data;
	int64_t from;
	int64_t to;
	RsStatus st;

	if (p->fp.n_rows == 0)
		return RS_OK;
	/* a row counts as much as its regularisation */
	team_range(r->team, p->fp.n_rows, &from, &to);
	for (int64_t k = from; k < to; k++)
		p->fp.weight[k] = (float) pow((double) (data->end[k] - data->ptr[k]) +
										  (double) c->alpha0 * data->n_cols,
									  c->nu);
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	st = feature_prior_fit(r->team, &p->fp, als->ld, factors);
	side->prior = p->fp.prior;
	return st;
}

RsStatus
retrieval_prior_finish(Retrieval *r, RetrievalPrior *p, const Ials *als,
					   IalsSide *side, const float *factors, float scale, int k,
					   int blocks, float *rows)
{
	int dim = als->config.dim;
	RsStatus st = retrieval_prior_fit(r, p, als, side, factors);

	if (st != RS_OK || p->fp.n_rows == 0)
		return st;
	feature_prior_map(r->team, &p->fp, als->ld, dim, scale, p->map, k, blocks);
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	if (k == blocks - 1)
		feature_prior_place(r->team, &p->fp, &side->data, p->map, dim * blocks,
							rows);
	return team_barrier(r->team);
}

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
#include <string.h>

#define MEAN_PARTS 32

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

/* what a row counts in a prior: as much as its regularisation */
static double
weight_of(const Ials *als, const IalsSide *side, int64_t row)
{
	const DatasetSide *data = &side->data;
	double zeros = side->row_zeros != NULL ? side->row_zeros[row] : 1;

	return pow((double) (data->end[row] - data->ptr[row]) +
				   zeros * als->config.alpha0 * data->n_cols,
			   als->config.nu);
}

size_t
retrieval_mean_size(int ld)
{
	return arena_need(MEAN_PARTS * ((size_t) ld + 1), sizeof(double)) +
		   arena_need((size_t) ld, sizeof(float));
}

RsStatus
retrieval_mean_init(Retrieval *r, int ld, RetrievalMean *m)
{
	m->part =
		arena_alloc(r->arena, MEAN_PARTS * ((size_t) ld + 1), sizeof(double));
	m->mean = arena_alloc(r->arena, (size_t) ld, sizeof(float));
	return m->part == NULL || m->mean == NULL ? RS_NO_MEMORY : RS_OK;
}

/* rows without interactions say nothing */
static void
mean_part(const Ials *als, const IalsSide *side, const float *factors, int part,
		  double *sum)
{
	const DatasetSide *data = &side->data;
	int ld = als->ld;
	int64_t from = (int64_t) data->n_rows * part / MEAN_PARTS;
	int64_t to = (int64_t) data->n_rows * (part + 1) / MEAN_PARTS;

	memset(sum, 0, sizeof(double) * ((size_t) ld + 1));
	for (int64_t row = from; row < to; row++)
	{
		const float *f = factors + (size_t) row * (size_t) ld;
		double weight = weight_of(als, side, row);

		if (data->end[row] == data->ptr[row])
			continue;
		for (int k = 0; k < ld; k++)
			sum[k] += weight * f[k];
		sum[ld] += weight;
	}
}

RsStatus
retrieval_mean_fit(Retrieval *r, RetrievalMean *m, const Ials *als,
				   const IalsSide *side, const float *factors)
{
	Team *team = r->team;
	size_t width = (size_t) als->ld + 1;
	RsStatus st;

	for (int p = team->rank; p < MEAN_PARTS; p += team->size)
		mean_part(als, side, factors, p, m->part + (size_t) p * width);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (team->rank == 0)
		for (size_t k = 0; k + 1 < width; k++)
		{
			double sum = 0;
			double weight = 0;

			for (size_t p = 0; p < MEAN_PARTS; p++)
			{
				sum += m->part[p * width + k];
				weight += m->part[p * width + width - 1];
			}
			m->mean[k] = weight > 0 ? (float) (sum / weight) : 0;
		}
	return team_barrier(team);
}

RsStatus
retrieval_prior_fit(Retrieval *r, RetrievalPrior *p, const Ials *als,
					IalsSide *side, const float *factors)
{
	int64_t from;
	int64_t to;
	RsStatus st;

	if (p->fp.n_rows == 0)
		return RS_OK;
	team_range(r->team, p->fp.n_rows, &from, &to);
	for (int64_t k = from; k < to; k++)
		p->fp.weight[k] = side->data.end[k] > side->data.ptr[k]
							  ? (float) weight_of(als, side, k)
							  : 0;
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

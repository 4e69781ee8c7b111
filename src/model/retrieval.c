/*
 * retrieval.c
 *		The retrieval stage: which learner runs, and what is reported.
 *
 * To be wired: user_softmax.h started by spectral.h as the learner of large
 * catalogues (Yelp2018: settings and figures in the commit that added it).
 */
#include "model/retrieval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/clock.h"
#include "model/ials.h"
#include "model/metrics.h"
#include "model/softmax.h"

typedef struct Retrieval
{
	Team *team;
	JobShared *job;
	Arena *arena;
	Dataset *ds;
	double start;
} Retrieval;

static void
tfrs_config(const JobConfig *in, SoftmaxConfig *c)
{
	memset(c, 0, sizeof(*c));
	c->dim = in->dim > 0 ? in->dim : 32;
	c->batch = in->batch_size > 0 ? in->batch_size : 8192;
	c->negatives = in->negatives > 0 ? in->negatives : 0;
	c->logq = in->logq > 0;
	c->remove_accidental = in->accidental > 0;
	c->normalize = in->normalize > 0;
	c->temperature = in->temperature > 0 ? in->temperature : 1;
	c->lr = in->learning_rate > 0 ? in->learning_rate : 0.1f;
	c->init = 0.05f;
	c->optimizer =
		in->optimizer == OPTIMIZER_AUTO ? OPTIMIZER_ADAGRAD : in->optimizer;
	c->seed = in->seed;
}

static bool
uses_softmax(const JobConfig *config)
{
	return config->loss == LOSS_SOFTMAX ||
		   (config->loss == LOSS_AUTO && config->preset == PRESET_TFRS);
}

static void
ials_config(const JobConfig *in, IalsConfig *c)
{
	c->dim = in->dim > 0 ? in->dim : 64;
	c->alpha0 = in->alpha0 > 0 ? in->alpha0 : 0.1f;
	c->lambda = in->regularization > 0 ? in->regularization : 0.01f;
	c->nu = 1;
	c->seed = in->seed;
}

size_t
retrieval_arena_size(const JobConfig *config, const JobInput *input,
					 int workers)
{
	size_t size = metrics_size(input->n_users) +
				  arena_need((size_t) input->n_users, sizeof(float)) +
				  arena_need((size_t) input->n_items, sizeof(float));
	SoftmaxConfig c;
	IalsConfig ic;

	if (uses_softmax(config))
	{
		tfrs_config(config, &c);
		return size + softmax_size(&c, input->n_users, input->n_items, input->n,
								   workers);
	}
	ials_config(config, &ic);
	return size + ials_size(&ic, input->n_users, input->n_items) +
		   arena_need((size_t) input->n_users * (size_t) ic.dim,
					  sizeof(float)) +
		   arena_need((size_t) input->n_items * (size_t) ic.dim, sizeof(float));
}

void
retrieval_dataset_options(const JobConfig *config, DatasetOptions *opt)
{
	opt->keep_counts = config->preset == PRESET_TFRS;
	opt->positive_kind = config->positive_kind;
	opt->positive_min = config->positive_min;
}

/* metrics of the popularity of the training part */
static RsStatus
evaluate_popularity(Retrieval *r, const MetricsSpec *spec,
					MetricsResult *result)
{
	Dataset *ds = r->ds;
	size_t mark = arena_mark(r->arena);
	float *one = arena_alloc(r->arena, (size_t) ds->n_users, sizeof(float));
	float *pop = arena_alloc(r->arena, (size_t) ds->n_items, sizeof(float));
	RsStatus st;

	if (one == NULL || pop == NULL)
		return RS_NO_MEMORY;
	if (r->team->rank == 0)
	{
		for (int32_t u = 0; u < ds->n_users; u++)
			one[u] = 1;
		for (int32_t i = 0; i < ds->n_items; i++)
			pop[i] = (float) (ds->item_end[i] - ds->item_ptr[i]);
	}
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	st = metrics_run(r->team, r->arena, ds, spec, one, pop, 1, result);
	arena_reset(r->arena, mark);
	return st;
}

static void
put_metric(JobOutput *out, const char *name, int k, double value,
		   double baseline)
{
	JobMetric *m;

	if (out->n_metrics >= JOB_MAX_METRICS)
		return;
	m = &out->metrics[out->n_metrics++];
	memset(m, 0, sizeof(*m));
	strncpy(m->name, name, sizeof(m->name) - 1);
	m->k = k;
	m->value = value;
	m->baseline = baseline;
}

static void
put_metrics(JobOutput *out, const MetricsSpec *spec, const MetricsResult *a,
			const MetricsResult *b)
{
	for (int k = 0; k < spec->n_k; k++)
		put_metric(out, "accuracy", spec->k[k], a->accuracy[k], b->accuracy[k]);
	for (int k = 0; k < spec->n_k; k++)
	{
		if (spec->k[k] == 10 || spec->k[k] == 20)
		{
			put_metric(out, "recall", spec->k[k], a->recall[k], b->recall[k]);
			put_metric(out, "precision", spec->k[k], a->precision[k],
					   b->precision[k]);
			put_metric(out, "ndcg", spec->k[k], a->ndcg[k], b->ndcg[k]);
		}
	}
	put_metric(out, "mrr", 0, a->mrr, b->mrr);
}

/* validation metrics beside the popularity's, into the output */
static RsStatus
report(Retrieval *r, bool exclude_seen, const float *u, const float *v, int dim)
{
	MetricsSpec spec = {exclude_seen, 6, {1, 5, 10, 20, 50, 100}, 0};
	MetricsResult model;
	MetricsResult popular;
	RsStatus st;

	if (r->ds->n_held == 0)
		return RS_OK;
	if (r->team->rank == 0)
		strcpy(r->job->progress.phase, "evaluating");
	st = metrics_run(r->team, r->arena, r->ds, &spec, u, v, dim, &model);
	if (st == RS_OK)
		st = evaluate_popularity(r, &spec, &popular);
	if (st == RS_OK && r->team->rank == 0)
		put_metrics(&r->job->output, &spec, &model, &popular);
	return st;
}

static RsStatus
run_tfrs(Retrieval *r)
{
	JobShared *job = r->job;
	JobOutput *out = &job->output;
	SoftmaxConfig c;
	Softmax sm;
	int epochs = job->config.epochs > 0 ? job->config.epochs : 3;
	RsStatus st;

	tfrs_config(&job->config, &c);
	st = softmax_init(r->team, r->arena, r->ds, &c, &sm);
	if (st != RS_OK)
		return st;
	if (r->team->rank == 0)
	{
		strcpy(job->progress.phase, "retrieval");
		job->progress.epochs = epochs;
	}
	for (int epoch = 1; epoch <= epochs && st == RS_OK; epoch++)
	{
		double loss = 0;

		if (r->team->rank == 0)
			job->progress.epoch = epoch;
		st = softmax_epoch(r->team, &sm, epoch, &job->progress, &loss);
		if (st == RS_OK && r->team->rank == 0)
			job_log(job, "retrieval", epoch, loss, "", 0,
					clock_seconds() - r->start);
		if (st == RS_OK && !isfinite(loss))
			st = RS_DIVERGED;
	}
	softmax_free(&sm);
	if (st != RS_OK)
		return st;
	if (r->team->rank == 0)
	{
		out->dim = c.dim;
		out->epochs = epochs;
		out->user_vector = job_offset(job, sm.u);
		out->item_vector = job_offset(job, sm.v);
		snprintf(out->choice, sizeof(out->choice),
				 "in-batch softmax as in the tutorial: %d dimensions, "
				 "batches of %d, learning rate %g, %d epochs",
				 c.dim, c.batch, c.lr, epochs);
	}
	return report(r, false, sm.u, sm.v, c.dim);
}

static RsStatus
run_ials(Retrieval *r)
{
	JobShared *job = r->job;
	JobOutput *out = &job->output;
	Dataset *ds = r->ds;
	IalsConfig c;
	Ials als;
	IalsSide users = {dataset_users(ds, false), NULL, NULL};
	IalsSide items = {dataset_items(ds, false), NULL, NULL};
	int epochs = job->config.epochs > 0 ? job->config.epochs : 12;
	float *u;
	float *v;
	RsStatus st;

	ials_config(&job->config, &c);
	st = ials_init(r->team, r->arena, &c, ds->n_users, ds->n_items, &als);
	u = arena_alloc(r->arena, (size_t) ds->n_users * (size_t) c.dim,
					sizeof(float));
	v = arena_alloc(r->arena, (size_t) ds->n_items * (size_t) c.dim,
					sizeof(float));
	if (u == NULL || v == NULL)
		return RS_NO_MEMORY;
	if (r->team->rank == 0)
	{
		strcpy(job->progress.phase, "retrieval");
		job->progress.epochs = epochs;
	}
	for (int epoch = 1; epoch <= epochs && st == RS_OK; epoch++)
	{
		if (r->team->rank == 0)
			job->progress.epoch = epoch;
		st = ials_epoch(r->team, &als, &users, &items);
		if (st == RS_OK && r->team->rank == 0)
			job_log(job, "retrieval", epoch, als.loss, "", 0,
					clock_seconds() - r->start);
	}
	if (st != RS_OK)
		return st;
	ials_copy(r->team, &als, als.w, ds->n_users, u);
	ials_copy(r->team, &als, als.h, ds->n_items, v);
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	if (r->team->rank == 0)
	{
		out->dim = c.dim;
		out->epochs = epochs;
		out->user_vector = job_offset(job, u);
		out->item_vector = job_offset(job, v);
	}
	return report(r, true, u, v, c.dim);
}

RsStatus
retrieval_run(Team *team, JobShared *job, Arena *arena, Dataset *ds,
			  double start)
{
	Retrieval r = {team, job, arena, ds, start};

	return uses_softmax(&job->config) ? run_tfrs(&r) : run_ials(&r);
}

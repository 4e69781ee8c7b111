/*
 * retrieval.c
 *		The retrieval stage: which learner runs, and what is reported.
 */
#include "model/retrieval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/clock.h"
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

size_t
retrieval_arena_size(const JobConfig *config, const JobInput *input,
					 int workers)
{
	SoftmaxConfig c;

	tfrs_config(config, &c);
	return softmax_size(&c, input->n_users, input->n_items, input->n, workers) +
		   metrics_size(input->n_users) +
		   arena_need((size_t) input->n_users, sizeof(float)) +
		   arena_need((size_t) input->n_items, sizeof(float));
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

RsStatus
retrieval_run(Team *team, JobShared *job, Arena *arena, Dataset *ds,
			  double start)
{
	Retrieval r = {team, job, arena, ds, start};

	return run_tfrs(&r);
}

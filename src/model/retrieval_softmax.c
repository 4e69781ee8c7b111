/*
 * retrieval_softmax.c
 *		The tutorial's learner: in-batch softmax over id embeddings.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/retrieval_int.h"

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
retrieval_tfrs_size(const JobConfig *config, const JobInput *input, int workers)
{
	SoftmaxConfig c;

	tfrs_config(config, &c);
	return softmax_size(&c, input->n_users, input->n_items, input->n, workers);
}

RsStatus
retrieval_tfrs(Retrieval *r)
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
	retrieval_phase(r, "retrieval", epochs);
	for (int epoch = 1; epoch <= epochs && st == RS_OK; epoch++)
	{
		double loss = 0;

		if (r->team->rank == 0)
			job->progress.epoch = epoch;
		st = softmax_epoch(r->team, &sm, epoch, &job->progress, &loss);
		if (st == RS_OK && r->team->rank == 0)
			job_log(job, "retrieval", epoch, loss, "", 0, retrieval_seconds(r));
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
	return retrieval_report(r, false, sm.u, sm.v, c.dim);
}

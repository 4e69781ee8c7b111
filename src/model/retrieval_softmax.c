/*
 * retrieval_softmax.c
 *		In-batch softmax over id embeddings: the tutorial's learner, and the
 *		one with every option.
 *
 * With held-out interactions, and not as the tutorial, each epoch is judged,
 * the best vectors are kept and the training stops after `patience` epochs
 * without better ones. A loss that is not finite starts it again with half
 * the learning rate, three times at most.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/dense.h"
#include "math/vec.h"
#include "model/retrieval_int.h"

#define HALVINGS 3
#define PATIENCE 5
#define VALID_USERS 6000

typedef struct Batches
{
	Retrieval *r;
	SoftmaxConfig config;
	Softmax sm;
	int epochs;
	bool judge; /* every epoch */
	int patience;
	double best;
	int best_epoch;
	float *u; /* (n_users, dim) best vectors, as they are to be published */
	float *v; /* (n_items, dim) */
	float *unit_u; /* the same of the epoch being judged, of unit rows alone */
	float *unit_v;
} Batches;

static void
tfrs_config(const JobConfig *in, int32_t n_items, SoftmaxConfig *c)
{
	memset(c, 0, sizeof(*c));
	c->dim = in->dim > 0 ? in->dim : 32;
	c->batch = in->batch_size > 0 ? in->batch_size : 8192;
	c->negatives = in->negatives > 0 ? in->negatives : 0;
	c->hard = in->hard_negatives > 0 ? in->hard_negatives : 0;
	/* as many as there are items: the exact softmax over all of them */
	c->all = c->negatives >= n_items;
	c->logq = in->logq > 0;
	c->remove_accidental = in->accidental > 0;
	c->normalize = in->normalize > 0;
	c->temperature = in->temperature > 0 ? in->temperature : 1;
	c->init = 0.05f;
	c->optimizer =
		in->optimizer == OPTIMIZER_AUTO ? OPTIMIZER_ADAGRAD : in->optimizer;
	c->lr = c->optimizer == OPTIMIZER_ADAM ? 0.01f : 0.1f;
	if (in->learning_rate > 0)
		c->lr = in->learning_rate;
	c->seed = in->seed;
	/* the tutorial's cache() comes behind shuffle() and batch() */
	c->shuffle_once = in->preset == PRESET_TFRS;
}

size_t
retrieval_tfrs_size(const JobConfig *config, const JobInput *input, int workers)
{
	SoftmaxConfig c;

	tfrs_config(config, input->n_items, &c);
	return softmax_size(&c, input->n_users, input->n_items, input->n, workers) +
		   (c.normalize ? 2 : 1) *
			   (arena_need((size_t) input->n_users * (size_t) c.dim,
						   sizeof(float)) +
				arena_need((size_t) input->n_items * (size_t) c.dim,
						   sizeof(float)));
}

/* rows (n, dim) of this member, as unit vectors when scores are cosines */
static void
copy_rows(const Batches *b, const float *from, int64_t n, float *to)
{
	int d = b->config.dim;
	int64_t first;
	int64_t last;

	team_range(b->r->team, n, &first, &last);
	memcpy(to + first * d, from + first * d,
		   sizeof(float) * (size_t) (last - first) * (size_t) d);
	for (int64_t r = first; b->config.normalize && r < last; r++)
		dense.scale(1 / (sqrtf(vec_dot(to + r * d, to + r * d, d)) + 1e-12f),
					to + r * d, d);
}

static RsStatus
keep(Batches *b, float *u, float *v)
{
	copy_rows(b, b->sm.u, b->r->ds->n_users, u);
	copy_rows(b, b->sm.v, b->r->ds->n_items, v);
	return team_barrier(b->r->team);
}

/* the unit rows that were judged become the best ones */
static void
swap_best(Batches *b)
{
	float *u = b->u;
	float *v = b->v;

	b->u = b->unit_u;
	b->v = b->unit_v;
	b->unit_u = u;
	b->unit_v = v;
}

/* NDCG@20 of this epoch; *stop when waiting longer makes no sense */
static RsStatus
judge(Batches *b, int epoch, double *value, bool *stop)
{
	MetricsSpec spec = {
		.exclude_seen = true, .n_k = 1, .k = {20}, .max_users = VALID_USERS};
	Retrieval *r = b->r;
	MetricsResult result;
	RsStatus st;

	if (b->config.normalize)
	{
		/* users need no unit length here, items do: judge what is kept */
		if ((st = keep(b, b->unit_u, b->unit_v)) != RS_OK)
			return st;
		st = metrics_run(r->team, r->arena, r->ds, &spec, b->unit_u, b->unit_v,
						 b->config.dim, &result);
	}
	else
		st = metrics_run(r->team, r->arena, r->ds, &spec, b->sm.u, b->sm.v,
						 b->config.dim, &result);
	if (st != RS_OK)
		return st;
	*value = result.ndcg[0];
	if (*value > b->best)
	{
		b->best = *value;
		b->best_epoch = epoch;
		if (!b->config.normalize)
			return keep(b, b->u, b->v);
		swap_best(b);
		return team_barrier(r->team);
	}
	*stop = b->patience > 0 && epoch - b->best_epoch >= b->patience;
	return RS_OK;
}

static RsStatus
one_epoch(Batches *b, int epoch, bool *stop)
{
	Retrieval *r = b->r;
	JobShared *job = r->job;
	double loss = 0;
	double value = 0;
	double begin = retrieval_seconds(r);
	int32_t late;
	RsStatus st;

	if (r->team->rank == 0)
		job->progress.epoch = epoch;
	st = softmax_epoch(r->team, &b->sm, epoch, &job->progress, &loss);
	if (st == RS_OK && !isfinite(loss))
		st = RS_DIVERGED;
	if (st == RS_OK && b->judge)
		st = judge(b, epoch, &value, stop);
	if (st != RS_OK)
		return st;
	if (r->team->rank == 0)
	{
		double now = retrieval_seconds(r);

		job->progress.rate = (double) b->sm.n_rows / (now - begin + 1e-9);
		job_log(job, "retrieval", epoch, loss, b->judge ? "ndcg@20" : "", value,
				now);
	}
	if (!isfinite(b->r->limit))
		return RS_OK;
	late = retrieval_late(r, 0);
	st = retrieval_agree(r, &late);
	*stop |= late != 0;
	return st;
}

static RsStatus
run_epochs(Batches *b)
{
	bool stop = false;
	RsStatus st =
		softmax_init(b->r->team, b->r->arena, b->r->ds, &b->config, &b->sm);
	int epoch = 0;

	while (st == RS_OK && epoch < b->epochs && !stop)
		st = one_epoch(b, ++epoch, &stop);
	if (st == RS_OK && !b->judge)
	{
		b->best_epoch = epoch;
		st = keep(b, b->u, b->v);
	}
	softmax_free(&b->sm);
	return st;
}

static void
say(const Batches *b, bool tutorial)
{
	JobOutput *out = &b->r->job->output;

	out->dim = b->config.dim;
	out->epochs = b->best_epoch;
	out->user_vector = job_offset(b->r->job, b->u);
	out->item_vector = job_offset(b->r->job, b->v);
	snprintf(out->choice, sizeof(out->choice),
			 "in-batch softmax%s: %d dimensions, batches of %d, learning rate "
			 "%g, %d epochs",
			 tutorial ? " as in the tutorial" : "", b->config.dim,
			 b->config.batch, b->config.lr, b->best_epoch);
}

static bool
alloc_best(Batches *b)
{
	Arena *arena = b->r->arena;
	size_t d = (size_t) b->config.dim;

	b->u = arena_alloc(arena, (size_t) b->r->ds->n_users * d, sizeof(float));
	b->v = arena_alloc(arena, (size_t) b->r->ds->n_items * d, sizeof(float));
	if (b->u == NULL || b->v == NULL || !b->config.normalize)
		return b->u != NULL && b->v != NULL;
	b->unit_u =
		arena_alloc(arena, (size_t) b->r->ds->n_users * d, sizeof(float));
	b->unit_v =
		arena_alloc(arena, (size_t) b->r->ds->n_items * d, sizeof(float));
	return b->unit_u != NULL && b->unit_v != NULL;
}

RsStatus
retrieval_tfrs(Retrieval *r)
{
	const JobConfig *config = &r->job->config;
	bool tutorial = config->preset == PRESET_TFRS;
	Batches b = {.r = r, .best = -1};
	size_t mark;
	RsStatus st = RS_DIVERGED;

	tfrs_config(config, r->ds->n_items, &b.config);
	b.epochs = config->epochs > 0 ? config->epochs : tutorial ? 3 : 30;
	b.judge = r->ds->n_held > 0 && (!tutorial || config->patience > 0);
	b.patience = config->patience >= 0 ? config->patience : PATIENCE;
	if (!alloc_best(&b))
		return RS_NO_MEMORY;
	mark = arena_mark(r->arena);
	retrieval_phase(r, "retrieval", b.epochs);
	for (int k = 0; k <= HALVINGS && st == RS_DIVERGED; k++)
	{
		if (k > 0 && (st = team_barrier(r->team)) != RS_OK)
			return st;
		arena_reset(r->arena, mark);
		st = run_epochs(&b);
		if (st == RS_DIVERGED)
			b.config.lr /= 2;
	}
	if (st != RS_OK)
		return st;
	if (r->team->rank == 0)
		say(&b, tutorial);
	return retrieval_report(r, !tutorial, b.u, b.v, b.config.dim);
}

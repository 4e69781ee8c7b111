/*
 * retrieval_hidden.c
 *		The learner for `hidden`: two towers with features and layers.
 *
 * Embeddings begin with the spectrum of the interactions (warm_start).
 * Each epoch is judged by held-out interactions; training stops after
 * `patience` epochs without a better one, and a second training over all
 * interactions has as many epochs as the best one. What is stored beside the
 * vectors are the features' embeddings and the layers, so that a tower can
 * be computed for somebody new (tower_apply).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/vec.h"
#include "model/feature_prior.h"
#include "model/retrieval_int.h"
#include "model/spectral.h"
#include "model/tower_train.h"
#include "model/user_softmax.h"

#define VALID_USERS 6000
#define START_STD 0.1  /* of the coordinates that ids begin with */
#define MOST_FLOP 1e10 /* of a batch's layers, about 0.3 s */

typedef struct Hidden
{
	Retrieval *r;
	TowerConfig config;
	Towers towers;
	int epochs;
	int patience;
	int best_epoch;
	bool late; /* max_seconds are over */
	double best;
	float *u; /* (n_users, dim) */
	float *v; /* (n_items, dim) */
	float *best_u;
	float *best_v;
} Hidden;

static void
hidden_config(const JobConfig *in, const JobInput *input, TowerConfig *c)
{
	Tower net;
	double most; /* rows */

	memset(c, 0, sizeof(*c));
	c->dim = in->dim > 0 ? in->dim : 64;
	c->n_hidden = in->n_hidden;
	memcpy(c->hidden, in->hidden, sizeof(c->hidden));
	c->batch = in->batch_size > 0 ? in->batch_size : 1024;
	c->negatives = in->negatives > 0 ? in->negatives : 0;
	c->hard = in->hard_negatives > 0 ? in->hard_negatives : 0;
	c->remove_accidental = in->accidental != 0;
	c->temperature = in->temperature > 0 ? in->temperature : 0.15f;
	c->learning_rate = in->learning_rate > 0 ? in->learning_rate : 0.001f;
	c->dropout = 0.3f;
	c->history = in->history > 0 ? in->history : 0;
	c->logq = in->logq != 0;
	c->seed = in->seed;
	/* wide layers: a step must not keep a cancel waiting */
	tower_init(&net, c->dim, c->hidden, c->n_hidden);
	most = MOST_FLOP / 6 / (double) net.n_params;
	while (in->batch_size <= 0 && c->batch > 64 && c->batch > most)
		c->batch /= 2;
	if (c->negatives > input->n_items)
		c->negatives = input->n_items;
	if (c->negatives > most)
		c->negatives = (int) most;
	tower_limit(c, input);
}

size_t
retrieval_hidden_size(const JobConfig *config, const JobInput *input,
					  int workers)
{
	const JobFeatures *f[2] = {&input->users, &input->items};
	TowerConfig c;
	size_t d;
	size_t train;
	size_t start;

	hidden_config(config, input, &c);
	d = (size_t) c.dim;
	train = tower_train_size(&c, input) + arena_need((size_t) input->n, 4);
	if (train > SIZE_MAX / 4)
		return SIZE_MAX / 2;
	start = spectral_arena_size(input->n_users, input->n_items, c.dim, workers);
	for (int k = 0; k < 2; k++)
		if (start < feature_prior_size(f[k], c.dim))
			start = feature_prior_size(f[k], c.dim);
	train += start;
	return train + 2 * (arena_need((size_t) input->n_users * d, sizeof(float)) +
						arena_need((size_t) input->n_items * d, sizeof(float)));
}

static RsStatus
vectors(Hidden *h)
{
	RsStatus st = tower_vectors(h->r->team, &h->towers, 0, h->u);

	if (st == RS_OK)
		st = tower_vectors(h->r->team, &h->towers, 1, h->v);
	return st == RS_OK ? team_barrier(h->r->team) : st;
}

static void
swap(float **a, float **b)
{
	float *x = *a;

	*a = *b;
	*b = x;
}

static RsStatus
judge(Hidden *h, int epoch, double *value)
{
	MetricsSpec spec = {
		.exclude_seen = true, .n_k = 1, .k = {20}, .max_users = VALID_USERS};
	Retrieval *r = h->r;
	MetricsResult result;
	RsStatus st = vectors(h);

	if (st == RS_OK)
		st = metrics_run(r->team, r->arena, r->ds, &spec, h->u, h->v,
						 h->config.dim, &result);
	if (st != RS_OK)
		return st;
	*value = result.ndcg[0];
	if (*value > h->best)
	{
		h->best = *value;
		h->best_epoch = epoch;
		swap(&h->u, &h->best_u);
		swap(&h->v, &h->best_v);
	}
	return team_barrier(r->team);
}

/*
 * What features explain of the ids' vectors becomes the features' own, the ids
 * keep the rest: so together they are what they were, and features alone have
 * something to say from the first step on.
 */
static RsStatus
give_features(Hidden *h, int k, const DatasetSide *data)
{
	Retrieval *r = h->r;
	TowerSide *s = &h->towers.side[k];
	const JobFeatures *f = k == 0 ? &r->job->input.users : &r->job->input.items;
	FeaturePrior fp;
	int64_t from;
	int64_t to;
	int d = h->config.dim;
	RsStatus st;

	if (s->n_cols == 0)
		return RS_OK;
	if (feature_prior_init(r->arena, r->job, f, d, &fp) != RS_OK)
		return RS_NO_MEMORY;
	team_range(r->team, s->n, &from, &to);
	for (int64_t i = from; i < to; i++)
		fp.weight[i] = sqrtf((float) (data->end[i] - data->ptr[i]));
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	st = feature_prior_fit(r->team, &fp, d, s->id.x);
	if (st != RS_OK)
		return st;
	feature_prior_map(r->team, &fp, d, d, 1, s->feature.x, 0, 1);
	for (int64_t i = from; i < to; i++)
		vec_axpy(-1, fp.prior + (size_t) i * (size_t) d,
				 s->id.x + (size_t) i * (size_t) d, d);
	return team_barrier(r->team);
}

/*
 * Embeddings of ids begin as spectral vectors, all of one length.
 */
static RsStatus
warm_start(Hidden *h, bool all)
{
	Retrieval *r = h->r;
	DatasetSide data[2] = {dataset_users(r->ds, all),
						   dataset_items(r->ds, all)};
	size_t mark = arena_mark(r->arena);
	TowerRows *id[2] = {&h->towers.side[0].id, &h->towers.side[1].id};
	int d = h->config.dim;
	RsStatus st =
		spectral_vectors(r->team, &data[0], &data[1], d, h->config.seed,
						 r->arena, id[0]->x, id[1]->x);

	for (int k = 0; k < 2 && st == RS_OK; k++)
		st = user_softmax_normalize(r->team, id[k]->x, id[k]->n, d,
									(float) (START_STD * sqrt(d)));
	if (st == RS_OK)
		st = team_barrier(r->team);
	arena_reset(r->arena, mark);
	for (int k = 0; k < 2 && st == RS_OK; k++)
	{
		st = give_features(h, k, &data[k]);
		arena_reset(r->arena, mark);
	}
	return st;
}

/* the second time nothing is judged, and the log has its curve */
static RsStatus
train(Hidden *h, bool all, bool again)
{
	Retrieval *r = h->r;
	JobShared *job = r->job;
	bool judged = !again && r->ds->n_held > 0;
	bool stop = false;
	RsStatus st = tower_train_init(r->team, r->arena, job, r->ds, &h->config,
								   all, &h->towers);

	if (st == RS_OK)
		st = warm_start(h, all);
	for (int e = 1; e <= h->epochs && st == RS_OK && !stop; e++)
	{
		double loss;
		double value = 0;
		int32_t late;

		st = tower_train_epoch(r->team, &h->towers, e, &job->progress, &loss);
		if (st == RS_OK && judged)
			st = judge(h, e, &value);
		if (st != RS_OK)
			break;
		if (r->team->rank == 0)
		{
			job->progress.epoch = e;
			job->progress.loss = loss;
			if (!again)
				job_log(job, "retrieval", e, loss, judged ? "ndcg@20" : "",
						value, retrieval_seconds(r));
		}
		late = retrieval_late(r, 0);
		st = retrieval_agree(r, &late);
		h->late = late != 0;
		stop = h->late ||
			   (judged && h->patience > 0 && e - h->best_epoch >= h->patience);
	}
	tower_train_free(&h->towers);
	return st;
}

static bool
alloc_vectors(Hidden *h)
{
	Arena *arena = h->r->arena;
	size_t nu = (size_t) h->r->ds->n_users * (size_t) h->config.dim;
	size_t ni = (size_t) h->r->ds->n_items * (size_t) h->config.dim;

	h->u = arena_alloc(arena, nu, sizeof(float));
	h->v = arena_alloc(arena, ni, sizeof(float));
	h->best_u = arena_alloc(arena, nu, sizeof(float));
	h->best_v = arena_alloc(arena, ni, sizeof(float));
	return h->u != NULL && h->v != NULL && h->best_u != NULL &&
		   h->best_v != NULL;
}

static void
put_layers(const Hidden *h, int side)
{
	JobShared *job = h->r->job;
	const Tower *net = &h->towers.net;
	const float *params = h->towers.side[side].layer.x;

	for (int k = 0; k < 2 * net->n_layers; k++)
	{
		JobParam *p;
		int l = k / 2;

		if (job->output.n_params >= JOB_MAX_PARAMS)
			return;
		p = &job->output.params[job->output.n_params++];
		memset(p, 0, sizeof(*p));
		snprintf(p->name, sizeof(p->name), "%s_%s_%d",
				 side == 0 ? "user" : "item", k % 2 == 0 ? "kernel" : "bias",
				 l);
		p->ndim = k % 2 == 0 ? 2 : 1;
		p->shape[0] = k % 2 == 0 ? net->width[l] : net->width[l + 1];
		p->shape[1] = k % 2 == 0 ? net->width[l + 1] : 0;
		p->data = job_offset(
			job, params + (k % 2 == 0 ? net->kernel[l] : net->bias[l]));
	}
}

static void
put_output(const Hidden *h)
{
	JobShared *job = h->r->job;
	JobOutput *out = &job->output;
	const TowerSide *side = h->towers.side;
	char negatives[48] = "";

	if (h->config.negatives > 0)
		snprintf(negatives, sizeof(negatives), " with %d shared negatives",
				 h->config.negatives);
	out->dim = h->config.dim;
	out->epochs = h->best_epoch;
	out->user_vector = job_offset(job, h->u);
	out->item_vector = job_offset(job, h->v);
	if (job->input.users.n_rows > 0)
		out->user_map = job_offset(job, side[0].feature.x);
	if (job->input.items.n_rows > 0)
		out->item_map = job_offset(job, side[1].feature.x);
	if (job->input.context.n_cols > 0)
		out->context_map = job_offset(job, h->towers.query.column.x);
	put_layers(h, 0);
	put_layers(h, 1);
	snprintf(
		out->choice, sizeof(out->choice),
		"towers with %d hidden layer%s, in-batch softmax%s, %d dimensions, "
		"batches of %d, temperature %.3g, Adam %.3g, %d epochs",
		h->config.n_hidden, h->config.n_hidden == 1 ? "" : "s", negatives,
		h->config.dim, h->config.batch, h->config.temperature,
		h->config.learning_rate, h->best_epoch);
}

RsStatus
retrieval_hidden(Retrieval *r)
{
	const JobConfig *config = &r->job->config;
	Hidden h = {.r = r, .best = -1};
	size_t mark;
	RsStatus st;

	hidden_config(config, &r->job->input, &h.config);
	h.epochs = config->epochs > 0 ? config->epochs : 40;
	h.patience = config->patience >= 0 ? config->patience : 4;
	if (!alloc_vectors(&h))
		return RS_NO_MEMORY;
	mark = arena_mark(r->arena);
	retrieval_phase(r, "retrieval", h.epochs);
	st = train(&h, false, false);
	if (st == RS_OK && r->ds->n_held > 0)
	{
		st = retrieval_report(r, true, h.best_u, h.best_v, h.config.dim);
		/* the parameters must be those of the vectors: train again */
		if (st == RS_OK && !h.late)
		{
			h.epochs = h.best_epoch;
			arena_reset(r->arena, mark);
			retrieval_phase(r, "refit", h.epochs);
			st = train(&h, config->refit != 0, true);
		}
	}
	else
		h.best_epoch = h.epochs;
	if (st == RS_OK)
		st = vectors(&h);
	if (st == RS_OK && r->team->rank == 0)
		put_output(&h);
	return st == RS_OK ? team_barrier(r->team) : st;
}

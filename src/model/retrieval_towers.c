/*
 * retrieval_towers.c
 *		Cosine towers by the shared softmax, for large catalogues.
 *
 * Spectral start, user_softmax with a learning rate that falls to zero,
 * validation every few epochs with the best vectors kept, and a short second
 * run over all interactions, held-out ones included.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/retrieval_int.h"
#include "model/spectral.h"
#include "model/user_softmax.h"

#define VALID_USERS 6000
#define HALVINGS 3 /* of the learning rate, when the loss is not finite */

typedef struct Towers
{
	Retrieval *r;
	UserSoftmaxConfig config;
	bool log;
	int every;    /* epochs between validations */
	int patience; /* validations without a better one */
	int waited;
	int best_epoch;
	double best;
	float *u;      /* (n_users, dim) as trained */
	float *v;      /* (n_items, dim) */
	float *unit_u; /* unit rows, of the epoch being judged */
	float *unit_v;
	float *best_u; /* unit rows of the best epoch */
	float *best_v;
} Towers;

static void
towers_config(const JobConfig *in, const JobInput *input, UserSoftmaxConfig *c)
{
	bool best = in->preset == PRESET_BEST;

	memset(c, 0, sizeof(*c));
	c->dim = in->dim > 0 ? in->dim : 64;
	c->epochs = in->epochs > 0 ? in->epochs : best ? 120 : 24;
	c->batch = 1024;
	c->positives = 8;
	c->negatives = in->negatives > 0 ? in->negatives : best ? 4096 : 1024;
	if (c->negatives > input->n_items)
		c->negatives = input->n_items;
	c->temperature = in->temperature > 0 ? in->temperature : 0.12f;
	c->learning_rate = in->learning_rate > 0 ? in->learning_rate : 0.02f;
	c->user_rate = 1;
	c->init = 0.1f;
	c->decay = true;
	c->seed = in->seed;
}

size_t
retrieval_towers_size(const JobConfig *config, const JobInput *input,
					  int workers)
{
	UserSoftmaxConfig c;
	size_t d;
	size_t train;
	size_t start;

	towers_config(config, input, &c);
	d = (size_t) c.dim;
	train = user_softmax_arena_size(&c, input->n_users, input->n_items,
									input->n, workers);
	start = spectral_arena_size(input->n_users, input->n_items, c.dim, workers);
	return 3 * (arena_need((size_t) input->n_users * d, sizeof(float)) +
				arena_need((size_t) input->n_items * d, sizeof(float))) +
		   (train > start ? train : start);
}

/* unit rows of what is trained now */
static RsStatus
copy_units(Towers *t, float *u, float *v)
{
	const Dataset *ds = t->r->ds;
	Team *team = t->r->team;
	size_t d = (size_t) t->config.dim;
	int64_t from;
	int64_t to;
	RsStatus st;

	team_range(team, ds->n_users, &from, &to);
	memcpy(u + (size_t) from * d, t->u + (size_t) from * d,
		   sizeof(float) * (size_t) (to - from) * d);
	team_range(team, ds->n_items, &from, &to);
	memcpy(v + (size_t) from * d, t->v + (size_t) from * d,
		   sizeof(float) * (size_t) (to - from) * d);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	st = user_softmax_normalize(team, u, ds->n_users, t->config.dim, 1);
	if (st == RS_OK)
		st = user_softmax_normalize(team, v, ds->n_items, t->config.dim, 1);
	return st;
}

/* the judged vectors become the best ones */
static RsStatus
keep_best(Towers *t)
{
	float *u = t->best_u;
	float *v = t->best_v;

	t->best_u = t->unit_u;
	t->best_v = t->unit_v;
	t->unit_u = u;
	t->unit_v = v;
	return team_barrier(t->r->team);
}

static RsStatus
judge(Towers *t, int epoch, double *value)
{
	MetricsSpec spec = {true, 1, {20}, VALID_USERS};
	MetricsResult result;
	Retrieval *r = t->r;
	RsStatus st = copy_units(t, t->unit_u, t->unit_v);

	if (st == RS_OK)
		st = metrics_run(r->team, r->arena, r->ds, &spec, t->unit_u, t->unit_v,
						 t->config.dim, &result);
	if (st != RS_OK)
		return st;
	*value = result.ndcg[0];
	t->waited++;
	if (*value <= t->best)
		return RS_OK;
	t->best = *value;
	t->best_epoch = epoch;
	t->waited = 0;
	return keep_best(t);
}

/* after each epoch, by every member */
static RsStatus
epoch_done(void *arg, Team *team, int epoch, double loss, bool *stop)
{
	Towers *t = arg;
	JobShared *job = t->r->job;
	bool judged = t->every > 0 && t->r->ds->n_held > 0 &&
				  (epoch % t->every == 0 || epoch == t->config.epochs);
	double value = 0;
	int32_t late;
	RsStatus st = RS_OK;

	if (judged && (st = judge(t, epoch, &value)) != RS_OK)
		return st;
	if (team->rank == 0)
	{
		double seconds = retrieval_seconds(t->r);

		job->progress.epoch = epoch;
		job->progress.loss = loss;
		job->progress.rate = (double) t->r->ds->n * epoch / (seconds + 1e-9);
		if (t->log)
			job_log(job, "retrieval", epoch, loss, judged ? "ndcg@20" : "",
					value, seconds);
	}
	late = retrieval_late(t->r);
	st = retrieval_agree(t->r, &late);
	*stop = late || (judged && t->patience > 0 && t->waited >= t->patience);
	return st;
}

/*
 * Spectral vectors, as long as random ones would be: the length decides how
 * far a step of Adam turns them.
 */
static RsStatus
start(Towers *t, const DatasetSide *data, const DatasetSide *items)
{
	Retrieval *r = t->r;
	int d = t->config.dim;
	float length = t->config.init * sqrtf((float) d);
	RsStatus st = spectral_vectors(r->team, data, items, d, t->config.seed,
								   r->arena, t->u, t->v);

	if (st == RS_OK)
		st = user_softmax_normalize(r->team, t->u, data->n_rows, d, length);
	if (st == RS_OK)
		st = user_softmax_normalize(r->team, t->v, items->n_rows, d, length);
	return st;
}

static RsStatus
train(Towers *t, bool all, bool warm)
{
	Retrieval *r = t->r;
	DatasetSide data = dataset_users(r->ds, all);
	DatasetSide items = dataset_items(r->ds, all);
	RsStatus st = RS_OK;

	for (int k = 0; k <= HALVINGS; k++)
	{
		if (!warm)
			st = start(t, &data, &items);
		if (st == RS_OK)
			st = user_softmax_train(r->team, &data, &t->config, r->arena, t->u,
									t->v, true, epoch_done, t);
		if (st != RS_DIVERGED || team_stopped(r->team) != RS_OK)
			break;
		t->config.learning_rate /= 2;
		warm = false;
	}
	return st;
}

static bool
alloc_vectors(Towers *t)
{
	Arena *arena = t->r->arena;
	size_t nu = (size_t) t->r->ds->n_users * (size_t) t->config.dim;
	size_t ni = (size_t) t->r->ds->n_items * (size_t) t->config.dim;
	float **u[3] = {&t->u, &t->unit_u, &t->best_u};
	float **v[3] = {&t->v, &t->unit_v, &t->best_v};

	for (int k = 0; k < 3; k++)
	{
		*u[k] = arena_alloc(arena, nu, sizeof(float));
		*v[k] = arena_alloc(arena, ni, sizeof(float));
		if (*u[k] == NULL || *v[k] == NULL)
			return false;
	}
	return true;
}

static RsStatus
refit(Towers *t)
{
	Retrieval *r = t->r;
	RsStatus st;

	t->every = 0;
	t->config.epochs = (t->config.epochs + 3) / 4;
	t->config.learning_rate /= 4;
	t->config.seed ^= 0x5deece66dULL;
	retrieval_phase(r, "refit", t->config.epochs);
	st = train(t, true, true);
	return st == RS_OK ? copy_units(t, t->best_u, t->best_v) : st;
}

static void
say(const Towers *t, const char *why)
{
	JobOutput *out = &t->r->job->output;

	out->dim = t->config.dim;
	out->epochs = t->best_epoch;
	out->user_vector = job_offset(t->r->job, t->best_u);
	out->item_vector = job_offset(t->r->job, t->best_v);
	snprintf(out->choice, sizeof(out->choice),
			 "cosine towers by softmax, %d dimensions, %d shared negatives, "
			 "temperature %.3g, Adam %.3g, best of %d epochs%s",
			 t->config.dim, t->config.negatives, t->config.temperature,
			 t->config.learning_rate, t->best_epoch, why);
}

RsStatus
retrieval_towers(Retrieval *r, const char *why)
{
	const JobConfig *config = &r->job->config;
	Towers t = {.r = r, .log = true, .best = -1};
	UserSoftmaxConfig c;
	RsStatus st;

	towers_config(config, &r->job->input, &t.config);
	c = t.config;
	t.every = c.epochs > 40 ? 4 : 2;
	t.patience = config->patience > 0 ? config->patience : 6;
	if (!alloc_vectors(&t))
		return RS_NO_MEMORY;
	retrieval_phase(r, "retrieval", t.config.epochs);
	st = train(&t, false, false);
	if (st == RS_OK && t.best_epoch == 0)
	{
		t.best_epoch = t.config.epochs;
		st = copy_units(&t, t.best_u, t.best_v);
	}
	if (st == RS_OK)
		st = retrieval_report(r, true, t.best_u, t.best_v, t.config.dim);
	if (st == RS_OK && r->ds->n_held > 0 && config->refit != 0 &&
		!retrieval_late(r))
		st = refit(&t);
	t.config = c;
	if (st == RS_OK && r->team->rank == 0)
		say(&t, why);
	return st == RS_OK ? team_barrier(r->team) : st;
}

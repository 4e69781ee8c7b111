/*
 * retrieval_towers.c
 *		Cosine towers by the shared softmax, for large catalogues.
 *
 * Spectral start, user_softmax with a learning rate that falls to zero,
 * validation every few epochs with the best vectors kept, and a second run
 * from these over all interactions. The first run has pushed the held-out
 * ones away as negatives: the second must be able to turn the vectors back,
 * so it begins with their first length and half the first learning rate.
 *
 * Preset best takes more dimensions. Where the call asks for fewer, towers of
 * TEACHER_DIM are trained first and teach the small ones: a large part of
 * the error is noise of the single interactions, which the teacher's scores
 * have less of.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/retrieval_ials.h"
#include "model/spectral.h"
#include "model/user_softmax.h"

#define TEACHER_DIM 256
#define TEACHER_EPOCHS 24
#define TEACHER_NEGATIVES 1024
#define TEACHER_SHARE 0.9f
#define TEACHER_ROWS_MOST 500000 /* users and items */
#define MANY 4000000       /* interactions: 256 dimensions take too long */
#define BEST_WORK 60000000 /* interactions that all epochs see, about */
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
	Rival *rival;  /* NULL: nothing can take their place any more */
	float *u;      /* (n_users, dim) as trained */
	float *v;      /* (n_items, dim) */
	float *unit_u; /* unit rows, of the epoch being judged */
	float *unit_v;
	float *best_u; /* unit rows of the best epoch */
	float *best_v;
	float *teacher_u; /* (n_users, TEACHER_DIM), NULL: no teacher */
	float *teacher_v;
} Towers;

static bool
wants_teacher(const UserSoftmaxConfig *c, const JobConfig *in,
			  const JobInput *input)
{
	return in->preset == PRESET_BEST && c->dim < TEACHER_DIM &&
		   job_pairs(input) <= MANY &&
		   (int64_t) input->n_users + input->n_items <= TEACHER_ROWS_MOST;
}

/* preset best: quality before time, within some minutes */
static void
best_config(const JobInput *input, UserSoftmaxConfig *c)
{
	int64_t n = job_pairs(input);
	int64_t epochs = BEST_WORK / n;

	c->dim = n > MANY ? 128 : TEACHER_DIM;
	c->negatives = n > MANY ? 2048 : 4096;
	c->epochs = epochs > 40 ? 40 : epochs < 8 ? 8 : (int) epochs;
}

static void
towers_config(const JobConfig *in, const JobInput *input, UserSoftmaxConfig *c)
{
	memset(c, 0, sizeof(*c));
	c->dim = 64;
	c->epochs = 24;
	c->negatives = 1024;
	if (in->preset == PRESET_BEST)
		best_config(input, c);
	if (in->dim > 0)
		c->dim = in->dim;
	if (in->epochs > 0)
		c->epochs = in->epochs;
	if (in->negatives > 0)
		c->negatives = in->negatives;
	c->batch = 1024;
	c->positives = 8;
	if (c->negatives > input->n_items)
		c->negatives = input->n_items;
	c->temperature = in->temperature > 0 ? in->temperature : 0.12f;
	c->learning_rate = in->learning_rate > 0 ? in->learning_rate : 0.02f;
	c->user_rate = 1;
	c->init = 0.1f;
	c->decay = true;
	c->seed = in->seed;
	if (wants_teacher(c, in, input))
	{
		c->teacher_dim = TEACHER_DIM;
		c->teacher_share = TEACHER_SHARE;
		/* the teacher's softmax is smooth: more of them add nothing */
		if (in->negatives <= 0 && c->negatives > TEACHER_NEGATIVES)
			c->negatives = TEACHER_NEGATIVES;
	}
}

/* what the teacher is trained by */
static void
teacher_config(const UserSoftmaxConfig *student, UserSoftmaxConfig *c)
{
	*c = *student;
	c->dim = TEACHER_DIM;
	c->teacher_share = 0;
	if (c->epochs > TEACHER_EPOCHS)
		c->epochs = TEACHER_EPOCHS;
	if (c->negatives > TEACHER_NEGATIVES)
		c->negatives = TEACHER_NEGATIVES;
}

static size_t
vectors_size(const JobInput *input, int dim)
{
	return arena_need((size_t) input->n_users * (size_t) dim, sizeof(float)) +
		   arena_need((size_t) input->n_items * (size_t) dim, sizeof(float));
}

/* one training of these towers, and what starts it */
static size_t
training_size(const UserSoftmaxConfig *c, const JobInput *input, int workers)
{
	size_t train = user_softmax_arena_size(c, input->n_users, input->n_items,
										   input->n, workers);
	size_t start =
		spectral_arena_size(input->n_users, input->n_items, c->dim, workers);

	return train > start ? train : start;
}

size_t
retrieval_towers_size(const JobConfig *config, const JobInput *input,
					  int workers)
{
	UserSoftmaxConfig c;
	UserSoftmaxConfig teacher;
	size_t size;
	size_t most;

	towers_config(config, input, &c);
	size = 3 * vectors_size(input, c.dim);
	most = training_size(&c, input, workers);
	if (c.teacher_share > 0)
	{
		teacher_config(&c, &teacher);
		size += vectors_size(input, TEACHER_DIM);
		if (most < training_size(&teacher, input, workers))
			most = training_size(&teacher, input, workers);
	}
	if (retrieval_loss(config, input) == LOSS_AUTO)
	{
		/* it is compared with implicit ALS, beside its vectors */
		size_t other = retrieval_ials_size(config, input);

		most = most > other ? most : other;
	}
	return size + most;
}

/* this member's part of vectors, into others */
static void
copy_part(const Towers *t, float *dst, const float *src, int64_t n)
{
	size_t d = (size_t) t->config.dim;
	int64_t from;
	int64_t to;

	team_range(t->r->team, n, &from, &to);
	memcpy(dst + (size_t) from * d, src + (size_t) from * d,
		   sizeof(float) * (size_t) (to - from) * d);
}

/* unit rows of what is trained now */
static RsStatus
copy_units(Towers *t, float *u, float *v)
{
	const Dataset *ds = t->r->ds;
	Team *team = t->r->team;
	RsStatus st;

	copy_part(t, u, t->u, ds->n_users);
	copy_part(t, v, t->v, ds->n_items);
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
	MetricsSpec spec = {true, 1, {20}, RETRIEVAL_VALID_USERS};
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

static bool
give_up(Towers *t, int epoch)
{
	Rival *rival = t->rival;

	rival->towers = t->best;
	rival->epochs = t->config.epochs;
	/* at the end nothing is saved any more: there the contest decides */
	if (!rival->asked || epoch == rival->epochs ||
		!retrieval_hopeless(rival, epoch))
		return false;
	rival->epoch = epoch;
	return rival->lost = true;
}

/* after each epoch, by every member */
static RsStatus
epoch_done(void *arg, Team *team, int epoch, double loss, bool *stop)
{
	Towers *t = arg;
	JobShared *job = t->r->job;
	bool judged;
	bool hopeless = false;
	double value = 0;
	int32_t late = retrieval_late(t->r, 0);
	RsStatus st = retrieval_agree(t->r, &late);

	judged = t->every > 0 && t->r->ds->n_held > 0 &&
			 (epoch % t->every == 0 || epoch == t->config.epochs || late);
	if (st == RS_OK && judged)
		st = judge(t, epoch, &value);
	if (st != RS_OK)
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
	if (judged && t->rival != NULL)
		hopeless = give_up(t, epoch);
	*stop = late || hopeless ||
			(judged && t->patience > 0 && t->waited >= t->patience);
	return st;
}

/* the length decides how far a step of Adam turns a vector */
static RsStatus
scale(Towers *t)
{
	int d = t->config.dim;
	float length = t->config.init * sqrtf((float) d);
	RsStatus st =
		user_softmax_normalize(t->r->team, t->u, t->r->ds->n_users, d, length);

	if (st == RS_OK)
		st = user_softmax_normalize(t->r->team, t->v, t->r->ds->n_items, d,
									length);
	return st;
}

/* spectral vectors, as long as random ones would be */
static RsStatus
start(Towers *t, const DatasetSide *data, const DatasetSide *items)
{
	RsStatus st = spectral_vectors(t->r->team, data, items, t->config.dim,
								   t->config.seed, t->r->arena, t->u, t->v);

	return st == RS_OK ? scale(t) : st;
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
		st = k == 0 && warm ? scale(t) : start(t, &data, &items);
		if (st == RS_OK)
			st = user_softmax_train(r->team, &data, &t->config, r->arena, t->u,
									t->v, true, epoch_done, t);
		if (st != RS_DIVERGED || team_stopped(r->team) != RS_OK)
			break;
		t->config.learning_rate /= 2;
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
	if (t->config.teacher_share == 0)
		return true;
	t->teacher_u = arena_alloc(arena, (size_t) t->r->ds->n_users * TEACHER_DIM,
							   sizeof(float));
	t->teacher_v = arena_alloc(arena, (size_t) t->r->ds->n_items * TEACHER_DIM,
							   sizeof(float));
	return t->teacher_u != NULL && t->teacher_v != NULL;
}

/* if any, of the same interactions; its scores are cosines, too */
static RsStatus
train_teacher(Towers *t, bool all)
{
	Retrieval *r = t->r;
	Towers big = *t;
	RsStatus st;

	if (t->config.teacher_share == 0)
		return RS_OK;
	teacher_config(&t->config, &big.config);
	big.rival = NULL;
	big.u = t->teacher_u;
	big.v = t->teacher_v;
	big.every = 0;
	big.log = false;
	retrieval_phase(r, "teacher", big.config.epochs);
	/* its many dimensions overfit in a second run: always anew */
	st = train(&big, all, false);
	if (st == RS_OK)
		st = user_softmax_normalize(r->team, big.u, r->ds->n_users, TEACHER_DIM,
									1);
	if (st == RS_OK)
		st = user_softmax_normalize(r->team, big.v, r->ds->n_items, TEACHER_DIM,
									1);
	t->config.teacher_users = big.u;
	t->config.teacher_items = big.v;
	return st;
}

/* a second run over all interactions, from the best vectors of the first */
static RsStatus
refit(Towers *t)
{
	Retrieval *r = t->r;
	int32_t late;
	RsStatus st;

	copy_part(t, t->u, t->best_u, r->ds->n_users);
	copy_part(t, t->v, t->best_v, r->ds->n_items);
	if ((st = team_barrier(r->team)) != RS_OK)
		return st;
	t->every = 0;
	t->config.seed ^= 0x5deece66dULL;
	st = train_teacher(t, true);
	/* where the first run soon overfits, this one would as well */
	t->config.epochs = (t->best_epoch + 1) / 2;
	t->config.learning_rate /= 2;
	retrieval_phase(r, "refit", t->config.epochs);
	if (st == RS_OK)
		st = train(t, true, true);
	/* when it could not come to its end, the first run counts */
	late = retrieval_late(r, 0);
	if (st == RS_OK)
		st = retrieval_agree(r, &late);
	return st == RS_OK && !late ? copy_units(t, t->best_u, t->best_v) : st;
}

/* whether there is time for half of what went by */
static RsStatus
wants_refit(Retrieval *r, int32_t *wanted)
{
	*wanted = r->ds->n_held > 0 && r->job->config.refit != 0 &&
			  1.5 * retrieval_seconds(r) < retrieval_room(r);
	return retrieval_agree(r, wanted);
}

static void
say(const Towers *t)
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
			 t->config.learning_rate, t->best_epoch,
			 t->config.teacher_share > 0 ? ", taught by 256 dimensions" : "");
}

/*
 * As many epochs as there is time for, so that the learning rate has come down
 * by then: about as long as a short training of implicit ALS each.
 */
static RsStatus
plan_epochs(Towers *t)
{
	Retrieval *r = t->r;
	double epoch = t->rival->asked ? r->ials->trial_seconds : 0;
	double most = epoch > 0 ? retrieval_left(r) / epoch : INFINITY;
	int32_t epochs = t->config.epochs;
	RsStatus st;

	if (most < epochs)
		epochs = most > 1 ? (int32_t) most : 1;
	st = retrieval_agree(r, &epochs);
	t->config.epochs = epochs;
	return st;
}

RsStatus
retrieval_towers(Retrieval *r, Rival *rival)
{
	const JobConfig *config = &r->job->config;
	Towers t = {.r = r, .log = true, .best = -1, .rival = rival};
	UserSoftmaxConfig c;
	int32_t again = 0;
	RsStatus st;

	towers_config(config, &r->job->input, &t.config);
	if ((st = plan_epochs(&t)) != RS_OK)
		return st;
	c = t.config;
	t.every = c.epochs > 40 ? 4 : 2;
	t.patience = config->patience >= 0 ? config->patience : 6;
	if (!alloc_vectors(&t))
		return RS_NO_MEMORY;
	st = train_teacher(&t, false);
	retrieval_phase(r, "retrieval", t.config.epochs);
	if (st == RS_OK)
		st = train(&t, false, false);
	if (st != RS_OK || rival->lost)
		return st;
	t.rival = NULL;
	if (t.best_epoch == 0)
	{
		t.best_epoch = t.config.epochs;
		st = copy_units(&t, t.best_u, t.best_v);
	}
	if (st == RS_OK)
		st = retrieval_contest(r, rival, t.best_u, t.best_v, t.config.dim);
	if (st != RS_OK || rival->lost)
		return st;
	st = retrieval_report(r, true, t.best_u, t.best_v, t.config.dim);
	if (st == RS_OK)
		st = wants_refit(r, &again);
	if (st == RS_OK && again)
		st = refit(&t);
	t.config = c;
	if (st == RS_OK && r->team->rank == 0)
		say(&t);
	return st == RS_OK ? team_barrier(r->team) : st;
}

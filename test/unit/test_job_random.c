/*
 * test_job_random.c
 *		Small trainings with random options and odd data: whatever is asked
 *		for, the arena is large enough, the end is a model of finite numbers or
 *		an error with its reason, and the same training gives the same bytes.
 *
 *	test_job_random [FIRST [COUNT]]		trainings by number, for a search
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/rng.h"
#include "model/job.h"
#include "rank_testing.h"

#define COUNT 60
#define WORKERS 3
#define MANY_ROWS 3 /* a number whose input has many, with ratings */
#define GUARD 4096

static Rng rng;

static int
below(int n)
{
	return (int) rng_below(&rng, (uint64_t) n);
}

/* one of the numbers, ended by a comma behind the last */
#define ONE_OF(...)                                                            \
	((const double[]){__VA_ARGS__}[below(                                      \
		(int) (sizeof((const double[]){__VA_ARGS__}) / sizeof(double)))])

/* mostly what stands for "by the data" */
#define OR_AUTO(value, automatic) (below(3) > 0 ? (automatic) : (value))

static JobConfig
random_config(void)
{
	JobConfig c;
	int stages = 1 + below(3);

	memset(&c, 0, sizeof(c));
	c.retrieval = stages & 1;
	c.ranking = stages & 2;
	c.preset = (JobPreset) OR_AUTO(below(3), PRESET_DEFAULT);
	c.loss = (JobLoss) below(3);
	c.ranking_loss = below(4) == 0 ? LOSS_AUTO : (JobLoss) (3 + below(5));
	c.optimizer = (JobOptimizer) OR_AUTO(below(4), OPTIMIZER_AUTO);
	c.dim = (int) ONE_OF(0, 0, 1, 2, 5, 16, 17, 32, 130);
	c.n_hidden = OR_AUTO((int) ONE_OF(0, 1, 2, 8), -1);
	for (int k = 0; k < c.n_hidden; k++)
		c.hidden[k] = (int) ONE_OF(1, 2, 15, 33);
	c.cross_layers = OR_AUTO((int) ONE_OF(0, 1, 2, 8), -1);
	c.history = OR_AUTO((int) ONE_OF(0, 1, 3, 1000), -1);
	c.epochs = (int) ONE_OF(1, 2, 3, 5);
	c.batch_size = OR_AUTO((int) ONE_OF(1, 2, 17, 64, 1000, 1 << 20), 0);
	c.negatives = OR_AUTO((int) ONE_OF(0, 1, 20, 300, 5000), -1);
	c.hard_negatives = OR_AUTO((int) ONE_OF(0, 1, 20, 5000), -1);
	c.patience = OR_AUTO((int) ONE_OF(0, 1, 1000000), -1);
	c.seed = (uint64_t) below(1000);
	c.split = (JobSplit) OR_AUTO(below(3), SPLIT_RANDOM);
	c.valid_fraction =
		OR_AUTO((float) ONE_OF(0, 0.01, 0.3, 0.5, 0.99), (float) NAN);
	c.learning_rate = OR_AUTO((float) ONE_OF(1e-12, 0.01, 1, 1000), NAN);
	c.temperature = OR_AUTO((float) ONE_OF(1e-3, 0.1, 1, 1e3), NAN);
	c.regularization = OR_AUTO((float) ONE_OF(1e-9, 0.01, 1, 1e6), NAN);
	c.alpha0 = OR_AUTO((float) ONE_OF(1e-9, 0.1, 1e6), NAN);
	c.min_rating = OR_AUTO((float) ONE_OF(-1e30, 1, 2.5), NAN);
	c.max_rating = OR_AUTO((float) ONE_OF(3, 5, 1e30), NAN);
	c.logq = OR_AUTO(below(2), -1);
	c.accidental = OR_AUTO(below(2), -1);
	c.normalize = OR_AUTO(below(2), -1);
	c.refit = OR_AUTO(below(2), -1);
	c.implicit = OR_AUTO(below(2), -1);
	c.positive_kind = (JobPositive) OR_AUTO(below(7), POSITIVE_ALL);
	c.positive_value = (float) below(5);
	return c;
}

/* the block as it grows: arrays are put behind one another */
typedef struct Block
{
	char *base; /* NULL: only measure */
	size_t used;
} Block;

static size_t
put(Block *b, size_t bytes)
{
	size_t at = b->used;

	b->used += (bytes + 63) & ~(size_t) 63;
	return at;
}

static float
random_rating(int kind, int64_t r)
{
	switch (kind)
	{
		case 0:
			return 3;
		case 1:
			return (float) (1 + below(5));
		case 2:
			return (float) below(2);
		case 3:
			return (float) rng_normal(&rng);
		case 4:
			return (float) (0.5 * (1 + below(10)));
		case 5:
			return floorf(expf(4 * (float) rng_normal(&rng)));
		default:
			return r % 7 == 0 ? 3e38f : r % 7 == 1 ? -1e30f : 0;
	}
}

static void
put_features(Block *b, JobFeatures *f, int64_t n_rows)
{
	int kind = below(3);
	int64_t *ptr;

	memset(f, 0, sizeof(*f));
	if (below(3) > 0)
		return;
	f->n_rows = (int32_t) n_rows;
	f->n_cols = (int32_t) ONE_OF(1, 2, 7, 40, 300);
	f->n_groups = 1 + below(f->n_cols < 5 ? f->n_cols : 5);
	for (int g = 1; g <= f->n_groups; g++)
		f->group_start[g] = f->n_cols * g / f->n_groups;
	f->ptr = put(b, 8 * (size_t) (n_rows + 1));
	/* at most four of a row */
	f->col = put(b, 16 * (size_t) n_rows);
	f->val = put(b, 16 * (size_t) n_rows);
	ptr = (int64_t *) (b->base + f->ptr);
	ptr[0] = 0;
	for (int64_t r = 0; r < n_rows; r++)
	{
		int32_t *col = (int32_t *) (b->base + f->col);
		float *val = (float *) (b->base + f->val);
		int32_t at = below(f->n_cols);

		ptr[r + 1] = ptr[r];
		for (int k = below(5); k > 0 && at < f->n_cols; k--)
		{
			col[ptr[r + 1]] = at;
			val[ptr[r + 1]++] = kind == 0 ? 1 : (float) rng_normal(&rng);
			at += 1 + below(5);
		}
	}
	f->nnz = ptr[n_rows];
}

#define MOST_INPUT (1 << 20)

static void
random_input(Block *b, JobInput *in)
{
	int kind = below(8);
	bool timed = below(2);
	int32_t *user;
	int32_t *item;

	memset(in, 0, sizeof(*in));
	in->n = (int64_t) ONE_OF(1, 2, 10, 60, 300, 2000);
	in->n_users = (int32_t) ONE_OF(1, 2, 20, 150, 500);
	in->n_items = (int32_t) ONE_OF(1, 2, 15, 100, 450);
	in->user = put(b, 4 * (size_t) in->n);
	in->item = put(b, 4 * (size_t) in->n);
	if (kind < 7)
		in->rating = put(b, 4 * (size_t) in->n);
	if (timed)
		in->time = put(b, 8 * (size_t) in->n);
	user = (int32_t *) (b->base + in->user);
	item = (int32_t *) (b->base + in->item);
	for (int64_t r = 0; r < in->n; r++)
	{
		double x = rng_uniform(&rng);

		user[r] = below(in->n_users);
		item[r] = (int32_t) (x * x * in->n_items);
		if (kind < 7)
			((float *) (b->base + in->rating))[r] = random_rating(kind, r);
		if (timed)
			((double *) (b->base + in->time))[r] = below(50) * 1e6;
	}
	put_features(b, &in->users, in->n_users);
	put_features(b, &in->items, in->n_items);
	put_features(b, &in->context, in->n);
}

/*
 * The job of this number, on memory with these bytes; asked: with these
 * options instead of random ones.
 */
static JobShared *
make_job(int number, const JobConfig *asked, int workers, int fill)
{
	Block b = {calloc(1, MOST_INPUT), 0};
	JobConfig c;
	JobInput in;
	JobShared *job;
	size_t arena;

	rng_init(&rng, (uint64_t) number, 0);
	c = asked != NULL ? *asked : random_config();
	(void) put(&b, sizeof(JobShared));
	random_input(&b, &in);
	arena = job_arena_size(&c, &in, workers);
	job = aligned_alloc(64, ((b.used + arena + 63) & ~(size_t) 63) + GUARD);
	memcpy(job, b.base, b.used);
	memset((char *) job + b.used, fill, arena);
	memset((char *) job + b.used + arena, 0x3c, GUARD);
	job->magic = JOB_MAGIC;
	job->workers = workers;
	job->size = b.used + arena;
	job->arena = b.used;
	job->config = c;
	job->input = in;
	free(b.base);
	return job;
}

/* the array lies in the block, and all of it is finite; 0: there is none */
static bool
good_floats(const JobShared *job, size_t at, int64_t n)
{
	const float *x = job_at(job, at);

	if (at == 0)
		return true;
	if (at < job->arena || at + 4 * (size_t) n > job->size)
		return false;
	for (int64_t k = 0; k < n; k++)
		if (!isfinite(x[k]))
			return false;
	return true;
}

static bool
good_output(const JobShared *job)
{
	const JobOutput *out = &job->output;
	const JobInput *in = &job->input;
	int64_t u = out->user_ranking_dim;
	int64_t i = out->item_ranking_dim;
	bool good = true;

	if (job->config.retrieval)
		good = out->dim > 0 && out->user_vector && out->item_vector;
	if (job->config.ranking)
		good = good && out->user_ranking && out->item_ranking;
	good = good &&
		   good_floats(job, out->user_vector, (int64_t) in->n_users * out->dim);
	good = good &&
		   good_floats(job, out->item_vector, (int64_t) in->n_items * out->dim);
	good = good && good_floats(job, out->user_ranking, in->n_users * u);
	good = good && good_floats(job, out->item_ranking, in->n_items * i);
	good = good && good_floats(job, out->context_map,
							   in->context.n_cols * (int64_t) out->dim);
	good =
		good && good_floats(job, out->context_user_map, in->context.n_cols * u);
	good =
		good && good_floats(job, out->context_item_map, in->context.n_cols * i);
	for (int k = 0; k < out->n_params; k++)
	{
		const JobParam *p = &out->params[k];

		good =
			good && good_floats(job, p->data,
								(int64_t) p->shape[0] *
									(p->ndim > 1 ? (int64_t) p->shape[1] : 1));
	}
	for (int k = 0; k < out->n_metrics; k++)
		good = good && !isinf(out->metrics[k].value);
	return good;
}

static bool
same_floats(const JobShared *a, const JobShared *b, size_t at, size_t other,
			int64_t n)
{
	return (at == 0) == (other == 0) &&
		   (at == 0 ||
			memcmp(job_at(a, at), job_at(b, other), 4 * (size_t) n) == 0);
}

static bool
same_output(const JobShared *a, const JobShared *b)
{
	const JobOutput *x = &a->output;
	const JobOutput *y = &b->output;
	int32_t users = a->input.n_users;
	int32_t items = a->input.n_items;

	return x->dim == y->dim && x->user_ranking_dim == y->user_ranking_dim &&
		   strcmp(x->choice, y->choice) == 0 &&
		   strcmp(x->problem, y->problem) == 0 &&
		   same_floats(a, b, x->user_vector, y->user_vector,
					   (int64_t) users * x->dim) &&
		   same_floats(a, b, x->item_vector, y->item_vector,
					   (int64_t) items * x->dim) &&
		   same_floats(a, b, x->user_ranking, y->user_ranking,
					   (int64_t) users * x->user_ranking_dim) &&
		   same_floats(a, b, x->item_ranking, y->item_ranking,
					   (int64_t) items * x->item_ranking_dim);
}

/* said of a training that did not go as it should */
static void
describe(int number, const JobShared *job, RsStatus st)
{
	const JobConfig *c = &job->config;
	const JobInput *in = &job->input;

	printf("training %d: status %d, \"%s\"; stages %d %d, preset %d, loss %d, "
		   "ranking loss %d, optimizer %d, dim %d, hidden %d, cross %d, "
		   "history %d, epochs %d, batch %d, negatives %d hard %d, split %d, "
		   "valid %g, rate %g; %lld of %d x %d, rating %d, time %d, "
		   "features %d %d %d\n",
		   number, st, job->output.problem, c->retrieval, c->ranking, c->preset,
		   c->loss, c->ranking_loss, c->optimizer, c->dim, c->n_hidden,
		   c->cross_layers, c->history, c->epochs, c->batch_size, c->negatives,
		   c->hard_negatives, c->split, (double) c->valid_fraction,
		   (double) c->learning_rate, (long long) in->n, in->n_users,
		   in->n_items, in->rating != 0, in->time != 0, in->users.n_cols,
		   in->items.n_cols, in->context.n_cols);
}

static bool
sound(const JobShared *job, RsStatus st)
{
	for (int k = 0; k < GUARD; k++)
		if (((const char *) job)[job->size + (size_t) k] != 0x3c)
			return false;
	if (st == RS_OK)
		return good_output(job);
	return (st == RS_INVALID || st == RS_NO_DATA || st == RS_DIVERGED) &&
		   job->output.problem[0] != '\0';
}

static void
test_training(int number, int statuses[])
{
	int workers = 1 + number % WORKERS;
	JobShared *a = make_job(number, NULL, workers, 0);
	JobShared *b = make_job(number, NULL, workers, 0x5a);
	RsStatus st = test_run(a);
	bool good = sound(a, st);
	bool same = test_run(b) == st && (st != RS_OK || same_output(a, b));

	statuses[st]++;
	CHECK(good);
	CHECK(same);
	if (!good || !same)
	{
		printf("%s%s", good ? "" : "not sound: ", same ? "" : "not the same: ");
		describe(number, a, st);
	}
	free(a);
	free(b);
}

/* as many layers as there may be in both stages: room for all parameters */
static void
test_layers(void)
{
	JobConfig c;
	JobShared *job;

	rng_init(&rng, 1, 1);
	c = random_config();
	c.retrieval = c.ranking = true;
	c.preset = PRESET_DEFAULT;
	c.loss = LOSS_SOFTMAX;
	c.ranking_loss = LOSS_MSE;
	c.n_hidden = JOB_MAX_HIDDEN;
	c.cross_layers = JOB_MAX_CROSS;
	for (int k = 0; k < JOB_MAX_HIDDEN; k++)
		c.hidden[k] = 8;
	c.learning_rate = NAN;
	c.split = SPLIT_RANDOM;
	c.positive_kind = POSITIVE_ALL;
	c.dim = 4;
	c.epochs = 1;
	c.batch_size = 0;
	job = make_job(MANY_ROWS, &c, 1, 0);
	CHECK(job->input.n > 200 && job->input.rating != 0);
	CHECK(test_run(job) == RS_OK);
	CHECK(good_output(job));
	printf("%d parameters of %d\n", job->output.n_params, JOB_MAX_PARAMS);
	free(job);
}

int
main(int argc, char **argv)
{
	int first = argc > 1 ? atoi(argv[1]) : 1;
	int count = argc > 2 ? atoi(argv[2]) : COUNT;
	int statuses[16] = {0};

	for (int number = first; number < first + count; number++)
	{
		if (argc > 3)
			fprintf(stderr, "%d\n", number);
		test_training(number, statuses);
	}
	test_layers();
	printf("%d trainings: %d models, %d not possible, %d without data, %d "
		   "diverged\n",
		   count, statuses[RS_OK], statuses[RS_INVALID], statuses[RS_NO_DATA],
		   statuses[RS_DIVERGED]);
	CHECK(statuses[RS_OK] >= count / 2);
	return check_summary();
}

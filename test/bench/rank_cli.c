/*
 * rank_cli.c
 *		The ranking stage outside a server: trains on one file of ratings,
 *		predicts another, prints seconds and errors. For benchmarks.
 *
 *	rank_cli TRAIN TEST [workers=2] [seed=42] [loss=gibbs] [dim=..] ...
 *
 * A file (little endian): int64 n | int32 n_users, n_items, has_time, has
 * features | int32 user (n) | int32 item (n) | float rating (n) | double time
 * (n) when has_time | features of users and of items when there are any:
 * int32 n_cols, n_groups | int32 group_start (n_groups + 1) | int64 nnz |
 * int64 ptr (rows + 1) | int32 col (nnz) | float val (nnz).
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "math/blas.h"
#include "model/predict.h"
#include "model/rank_common.h"
#include "model/rank_gibbs.h"

typedef struct File
{
	int64_t n;
	int32_t head[4];
	int32_t *user;
	int32_t *item;
	float *rating;
	double *time;
	JobFeatures f[2];
	void *fptr[2], *fcol[2], *fval[2];
} File;

typedef struct Member
{
	pthread_t thread;
	JobShared *job;
	int rank;
	RsStatus st;
} Member;

static void
get(FILE *f, void *to, size_t size, size_t n)
{
	if (fread(to, size, n, f) != n)
	{
		fprintf(stderr, "short file\n");
		exit(1);
	}
}

static void *
get_new(FILE *f, size_t size, size_t n)
{
	void *p = malloc(size * n + 1);

	get(f, p, size, n);
	return p;
}

static void
read_features(FILE *f, File *file, int side)
{
	JobFeatures *x = &file->f[side];

	x->n_rows = file->head[side];
	get(f, &x->n_cols, 4, 1);
	get(f, &x->n_groups, 4, 1);
	get(f, x->group_start, 4, (size_t) x->n_groups + 1);
	get(f, &x->nnz, 8, 1);
	file->fptr[side] = get_new(f, 8, (size_t) x->n_rows + 1);
	file->fcol[side] = get_new(f, 4, (size_t) x->nnz);
	file->fval[side] = get_new(f, 4, (size_t) x->nnz);
}

static File
read_file(const char *name)
{
	File x = {0};
	FILE *f = fopen(name, "rb");

	if (f == NULL)
	{
		perror(name);
		exit(1);
	}
	get(f, &x.n, 8, 1);
	get(f, x.head, 4, 4);
	x.user = get_new(f, 4, (size_t) x.n);
	x.item = get_new(f, 4, (size_t) x.n);
	x.rating = get_new(f, 4, (size_t) x.n);
	if (x.head[2])
		x.time = get_new(f, 8, (size_t) x.n);
	for (int side = 0; side < 2 && x.head[3]; side++)
		read_features(f, &x, side);
	fclose(f);
	return x;
}

static size_t
put(JobShared *job, size_t *at, const void *data, size_t bytes)
{
	size_t here = *at;

	if (data == NULL)
		return 0;
	memcpy((char *) job + here, data, bytes);
	*at = (here + bytes + 63) & ~(size_t) 63;
	return here;
}

static JobShared *
make_job(const File *x, const JobConfig *config, int workers)
{
	JobInput in = {.n = x->n, .n_users = x->head[0], .n_items = x->head[1]};
	size_t n = (size_t) x->n;
	size_t size = sizeof(JobShared) + 20 * n + 4096;
	size_t arena;
	size_t at = (sizeof(JobShared) + 63) & ~(size_t) 63;
	JobShared *job;

	in.rating = in.time = 1;
	in.users = x->f[0];
	in.items = x->f[1];
	for (int side = 0; side < 2; side++)
		size += 8 * (size_t) (x->f[side].nnz + x->f[side].n_rows + 100);
	arena = job_arena_size(config, &in, workers);
	job = aligned_alloc(64, (size + arena + 63) & ~(size_t) 63);
	memset(job, 0, size + arena);
	job->magic = JOB_MAGIC;
	job->workers = workers;
	job->size = size + arena;
	job->arena = (size + 63) & ~(size_t) 63;
	job->config = *config;
	in.user = put(job, &at, x->user, 4 * n);
	in.item = put(job, &at, x->item, 4 * n);
	in.rating = put(job, &at, x->rating, 4 * n);
	in.time = put(job, &at, x->time, 8 * n);
	for (int side = 0; side < 2; side++)
	{
		JobFeatures *f = side == 0 ? &in.users : &in.items;

		f->ptr = put(job, &at, x->fptr[side], 8 * ((size_t) f->n_rows + 1));
		f->col = put(job, &at, x->fcol[side], 4 * (size_t) f->nnz);
		f->val = put(job, &at, x->fval[side], 4 * (size_t) f->nnz);
	}
	job->input = in;
	return job;
}

static void *
member_main(void *arg)
{
	Member *m = arg;
	JobShared *job = m->job;
	Team team = {&job->team, m->rank, job->workers};

	m->st = job_run(&team, job);
	return NULL;
}

static bool probe_wanted;

static void
make_probe(const File *test)
{
	static GibbsProbe p;
	size_t n = (size_t) test->n;

	p.n = test->n;
	p.user = test->user;
	p.item = test->item;
	p.sum = calloc(n, sizeof(double));
	p.score = calloc(n, sizeof(double));
	p.square = calloc(n, sizeof(double));
	gibbs_probe = &p;
}

/* what predictions averaged over the samples exactly would reach */
static void
report_probe(const JobShared *job, const File *test)
{
	const JobConfig *c = &job->config;
	GibbsProbe *p = gibbs_probe;
	double k = p->samples;
	double se = 0;
	double v = 0;

	for (int64_t r = 0; r < p->n; r++)
	{
		double y = fmin(fmax(p->sum[r] / k, 1), 5);

		se += (y - test->rating[r]) * (y - test->rating[r]);
		v += p->square[r] / k - p->score[r] / k * p->score[r] / k;
	}
	(void) c;
	printf("exact average: rmse %.4f, mean variance of scores %.4f\n",
		   sqrt(se / (double) p->n), v / (double) p->n);
}

static void
set(JobConfig *c, int *workers, const char *arg)
{
	const char *v = strchr(arg, '=');
	double x;

	if (v == NULL)
	{
		fprintf(stderr, "key=value wanted: %s\n", arg);
		exit(1);
	}
	x = atof(++v);
#define KEY(k) (strncmp(arg, k "=", strlen(k) + 1) == 0)
	if (KEY("probe"))
		probe_wanted = x != 0;
	else if (KEY("workers"))
		*workers = (int) x;
	else if (KEY("seed"))
		c->seed = (uint64_t) x;
	else if (KEY("dim"))
		c->dim = (int) x;
	else if (KEY("epochs"))
		c->epochs = (int) x;
	else if (KEY("batch"))
		c->batch_size = (int) x;
	else if (KEY("valid"))
		c->valid_fraction = (float) x;
	else if (KEY("rate"))
		c->learning_rate = (float) x;
	else if (KEY("lambda"))
		c->regularization = (float) x;
	else if (KEY("refit"))
		c->refit = (int) x;
	else if (KEY("cross"))
		c->cross_layers = (int) x;
	else if (KEY("implicit"))
		c->implicit = (int) x;
	else if (KEY("patience"))
		c->patience = (int) x;
	else if (KEY("preset"))
		c->preset = strcmp(v, "tfrs") == 0   ? PRESET_TFRS
					: strcmp(v, "best") == 0 ? PRESET_BEST
											 : PRESET_DEFAULT;
	else if (KEY("loss"))
		c->ranking_loss = strcmp(v, "mse") == 0       ? LOSS_MSE
						  : strcmp(v, "binary") == 0  ? LOSS_BINARY
						  : strcmp(v, "gibbs") == 0   ? LOSS_GIBBS
						  : strcmp(v, "ordinal") == 0 ? LOSS_ORDINAL
						  : strcmp(v, "sgd") == 0     ? LOSS_SGD
													  : LOSS_AUTO;
	else
	{
		fprintf(stderr, "unknown key: %s\n", arg);
		exit(1);
	}
}

static void
test_error(JobShared *job, const File *test, double seconds)
{
	JobOutput *out = &job->output;
	PredictParam params[JOB_MAX_PARAMS];
	Predictor p;
	const char *problem = NULL;
	const float *users = job_at(job, out->user_ranking);
	const float *items = job_at(job, out->item_ranking);
	int n = predict_params_of_job(job, params);
	double se = 0;
	double ae = 0;
	float *scratch;

	if (predict_init(&p, out->ranking, out->user_ranking_dim,
					 out->item_ranking_dim, params, n, &problem) != RS_OK)
	{
		printf("no prediction: %s\n", problem);
		exit(1);
	}
	scratch = malloc(sizeof(float) * (predict_scratch(&p) + 1));
	for (int64_t r = 0; r < test->n; r++)
	{
		double y = predict_one(
			&p, users + (size_t) test->user[r] * (size_t) p.user_dim,
			items + (size_t) test->item[r] * (size_t) p.item_dim, scratch);

		se += (y - test->rating[r]) * (y - test->rating[r]);
		ae += fabs(y - test->rating[r]);
	}
	printf("seconds %.3f cpu %.3f dim %d test_rmse %.5f test_mae %.4f", seconds,
		   (double) clock() / CLOCKS_PER_SEC, p.user_dim,
		   sqrt(se / (double) test->n), ae / (double) test->n);
	for (int m = 0; m < out->n_metrics; m++)
		printf(" %s %.4f (base %.4f)", out->metrics[m].name,
			   out->metrics[m].value, out->metrics[m].baseline);
	printf("\n%s\n", out->choice);
	free(scratch);
}

int
main(int argc, char **argv)
{
	JobConfig config = {.ranking = true,
						.n_hidden = -1,
						.patience = -1,
						.seed = 42,
						.refit = -1,
						.implicit = -1,
						.valid_fraction = 0,
						.learning_rate = NAN,
						.regularization = NAN,
						.min_rating = NAN,
						.max_rating = NAN};
	int workers = 2;
	File train;
	File test;
	JobShared *job;
	Member *m;
	double t;

	if (argc < 3)
		return 2;
	for (int a = 3; a < argc; a++)
		set(&config, &workers, argv[a]);
	blas_use_openblas();
	train = read_file(argv[1]);
	test = read_file(argv[2]);
	job = make_job(&train, &config, workers);
	if (probe_wanted)
		make_probe(&test);
	m = calloc((size_t) workers, sizeof(Member));
	t = rank_clock();
	for (int w = 0; w < workers; w++)
	{
		m[w].job = job;
		m[w].rank = w;
		pthread_create(&m[w].thread, NULL, member_main, &m[w]);
	}
	for (int w = 0; w < workers; w++)
		pthread_join(m[w].thread, NULL);
	t = rank_clock() - t;
	if (job->team.stop != RS_OK)
	{
		printf("status %d: %s\n", job->team.stop, job->output.problem);
		return 1;
	}
	for (int k = 0; k < job->n_log; k++)
		if (getenv("RANK_LOG") != NULL)
			printf("%d loss %.5f %s %.5f at %.2f s\n", job->log[k].epoch,
				   job->log[k].train_loss, job->log[k].metric,
				   job->log[k].value, job->log[k].seconds);
	test_error(job, &test, t);
	if (probe_wanted)
		report_probe(job, &test);
	return 0;
}

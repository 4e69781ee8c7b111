/*
 * train_cli.c
 *		Runs job_run without a server, for measurements and profiles.
 *
 *	train_cli IN OUT workers [key=value ...]
 *
 * IN:	int64 n, users, items, flags (1 ratings, 2 times, 4 user features,
 *		8 item features); int32 user (n), item (n); float rating (n); double
 *		time (n); per feature table int64 rows, cols, nnz, groups, int32
 *		group_start (groups + 1), int64 ptr (rows + 1), int32 col, float val.
 * OUT:	int64 dim, float users (U, dim), items (I, dim); "-" writes nothing.
 * Keys are the names of JobConfig's fields. Members are forked processes.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "math/arena.h"
#include "math/blas.h"
#include "model/clock.h"
#include "model/job.h"

static char *data;
static size_t at;

static void *
take(size_t bytes)
{
	void *p = data + at;

	at += bytes;
	return p;
}

static size_t
put(JobShared *job, size_t *used, const void *src, size_t bytes)
{
	size_t here = *used;

	memcpy((char *) job + here, src, bytes);
	*used = (here + bytes + 63) & ~(size_t) 63;
	return here;
}

static void
set_option(JobConfig *c, const char *arg)
{
	char key[64];
	double v;

	if (sscanf(arg, "%63[^=]=%lf", key, &v) != 2)
		return;
#define INT(name)                                                              \
	if (strcmp(key, #name) == 0)                                               \
	c->name = (__typeof__(c->name)) v
	INT(retrieval);
	INT(ranking);
	INT(preset);
	INT(loss);
	INT(ranking_loss);
	INT(optimizer);
	INT(dim);
	INT(epochs);
	INT(batch_size);
	INT(negatives);
	INT(hard_negatives);
	INT(patience);
	INT(seed);
	INT(split);
	INT(history);
	INT(valid_fraction);
	INT(learning_rate);
	INT(temperature);
	INT(regularization);
	INT(alpha0);
	INT(logq);
	INT(accidental);
	INT(normalize);
	INT(refit);
	INT(implicit);
	INT(positive_kind);
	INT(positive_value);
	INT(max_seconds);
	if (strcmp(key, "hidden") == 0)
		c->hidden[c->n_hidden++] = (int) v;
}

static void
read_features(JobShared *job, size_t *used, JobFeatures *f)
{
	int64_t *head = take(32);

	f->n_rows = (int32_t) head[0];
	f->n_cols = (int32_t) head[1];
	f->nnz = head[2];
	f->n_groups = (int32_t) head[3];
	memcpy(f->group_start, take(4 * ((size_t) head[3] + 1)),
		   4 * ((size_t) head[3] + 1));
	f->ptr = put(job, used, take(8 * ((size_t) head[0] + 1)),
				 8 * ((size_t) head[0] + 1));
	f->col = put(job, used, take(4 * (size_t) head[2]), 4 * (size_t) head[2]);
	f->val = put(job, used, take(4 * (size_t) head[2]), 4 * (size_t) head[2]);
}

static size_t
read_file(const char *name)
{
	FILE *f = fopen(name, "rb");
	size_t size;

	if (f == NULL)
		exit(fprintf(stderr, "could not open %s\n", name));
	fseek(f, 0, SEEK_END);
	size = (size_t) ftell(f);
	rewind(f);
	data = malloc(size);
	if (fread(data, 1, size, f) != size)
		exit(fprintf(stderr, "could not read %s\n", name));
	fclose(f);
	return size;
}

static void
write_file(const char *name, JobShared *job)
{
	FILE *f = fopen(name, "wb");
	int64_t dim = job->output.dim;

	fwrite(&dim, 8, 1, f);
	fwrite(job_at(job, job->output.user_vector), 4,
		   (size_t) dim * (size_t) job->input.n_users, f);
	fwrite(job_at(job, job->output.item_vector), 4,
		   (size_t) dim * (size_t) job->input.n_items, f);
	fclose(f);
}

static void
print_result(const JobShared *job, RsStatus st, double seconds)
{
	const JobOutput *out = &job->output;
	struct rusage self;
	struct rusage kids;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &kids);
	for (int i = 0; i < job->n_log; i++)
		printf("%s epoch %d loss %.5f %s %.5f at %.3f s\n", job->log[i].stage,
			   job->log[i].epoch, job->log[i].train_loss, job->log[i].metric,
			   job->log[i].value, job->log[i].seconds);
	for (int i = 0; i < out->n_metrics; i++)
		printf("%s@%d %.4f (baseline %.4f)\n", out->metrics[i].name,
			   out->metrics[i].k, out->metrics[i].value,
			   out->metrics[i].baseline);
	printf(
		"status %d %s\n%s\nseconds %.4f, block %.1f MB, rss %.1f / %.1f MB\n",
		st, out->problem, out->choice, seconds, (double) job->size / 1e6,
		(double) self.ru_maxrss / 1e3, (double) kids.ru_maxrss / 1e3);
}

int
main(int argc, char **argv)
{
	int64_t *head;
	int workers = argc > 3 ? atoi(argv[3]) : 1;
	JobShared empty = {0};
	JobShared *job;
	size_t size;
	size_t n;
	RsStatus st;
	double t;

	if (argc < 4)
		return fprintf(stderr, "train_cli IN OUT workers [key=value ...]\n");
	if (getenv("OPENBLAS_NUM_THREADS") == NULL)
	{
		setenv("OPENBLAS_NUM_THREADS", "1", 1);
		execv("/proc/self/exe", argv);
	}
	size = read_file(argv[1]);
	head = take(32);
	n = (size_t) head[0];
	empty.magic = JOB_MAGIC;
	empty.workers = workers;
	empty.config.retrieval = true;
	empty.config.seed = 42;
	empty.config.negatives = empty.config.patience = -1;
	empty.config.hard_negatives = -1;
	empty.config.logq = empty.config.accidental = -1;
	empty.config.normalize = empty.config.refit = empty.config.implicit = -1;
	empty.config.valid_fraction = empty.config.learning_rate = NAN;
	empty.config.temperature = empty.config.regularization = NAN;
	empty.config.alpha0 = NAN;
	empty.config.min_rating = empty.config.max_rating = NAN;
	for (int i = 4; i < argc; i++)
		set_option(&empty.config, argv[i]);
	empty.input.n = head[0];
	empty.input.n_users = (int32_t) head[1];
	empty.input.n_items = (int32_t) head[2];
	empty.input.rating = head[3] & 1;
	empty.input.time = (head[3] & 2) != 0;
	if (head[3] & 4)
		empty.input.users.n_rows = (int32_t) head[1];
	if (head[3] & 8)
		empty.input.items.n_rows = (int32_t) head[2];
	size = ((sizeof(JobShared) + size + 4096) & ~(size_t) 63);
	empty.arena = size;
	empty.size = size + job_arena_size(&empty.config, &empty.input, workers);
	job = mmap(NULL, empty.size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job == MAP_FAILED)
		return fprintf(stderr, "no memory\n");
	*job = empty;
	size = (sizeof(JobShared) + 63) & ~(size_t) 63;
	job->input.user = put(job, &size, take(4 * n), 4 * n);
	job->input.item = put(job, &size, take(4 * n), 4 * n);
	job->input.rating = head[3] & 1 ? put(job, &size, take(4 * n), 4 * n) : 0;
	job->input.time = head[3] & 2 ? put(job, &size, take(8 * n), 8 * n) : 0;
	if (head[3] & 4)
		read_features(job, &size, &job->input.users);
	if (head[3] & 8)
		read_features(job, &size, &job->input.items);
	free(data);
	if (blas_use_openblas() != NULL)
		fprintf(stderr, "plain C\n");
	t = clock_seconds();
	for (int r = 1; r < workers; r++)
		if (fork() == 0)
		{
			Team team = {&job->team, r, workers};

			_exit(job_run(&team, job) != RS_OK);
		}
	st = job_run(&(Team){&job->team, 0, workers}, job);
	t = clock_seconds() - t;
	while (wait(NULL) > 0)
		;
	print_result(job, st, t);
	if (st == RS_OK && strcmp(argv[2], "-") != 0)
		write_file(argv[2], job);
	return st != RS_OK;
}

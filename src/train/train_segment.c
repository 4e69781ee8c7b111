/*
 * train_segment.c
 *		The data block: sized, checked, made and filled.
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/statvfs.h>

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/dsm_impl.h"

#include "math/arena.h"
#include "pg/pg_module.h"
#include "train/train.h"

#define TRIM_CHUNKS 64 /* chunks freed between two calls of malloc_trim */

/* places of the arrays; the same walk sizes the block and fills it */
typedef struct Layout
{
	size_t used;
} Layout;

static size_t
place(Layout *layout, size_t n, size_t size)
{
	size_t at = layout->used;
	size_t need = arena_need(n, size);

	layout->used =
		need > SIZE_MAX / 4 || at > SIZE_MAX / 4 ? SIZE_MAX / 2 : at + need;
	return at;
}

static void
place_features(Layout *layout, const TrainFeatures *from, JobFeatures *to)
{
	if (from->layout.n_rows == 0)
		return;
	*to = from->layout;
	to->nnz = from->ptr[to->n_rows];
	to->ptr = place(layout, (size_t) to->n_rows + 1, sizeof(int64));
	to->col = place(layout, (size_t) from->ptr[to->n_rows], sizeof(int32));
	to->val = place(layout, (size_t) from->ptr[to->n_rows], sizeof(float));
}

static void
place_input(Layout *layout, const JobConfig *config, const TrainInput *from,
			JobInput *in)
{
	const TrainRows *rows = &from->rows;
	size_t n = (size_t) rows->n;
	bool ratings;
	bool times;

	memset(in, 0, sizeof(*in));
	in->n = rows->n;
	in->n_pairs = rows->n_pairs;
	in->n_users = rows->users.n;
	in->n_items = rows->items.n;
	in->rating = rows->has_rating;
	in->time = rows->has_time;
	in->context.n_cols = from->context.layout.n_cols;
	ratings = rows->has_rating && job_reads_ratings(config, in);
	times = rows->has_time && job_reads_times(config, in);
	in->user = place(layout, n, sizeof(int32));
	in->item = place(layout, n, sizeof(int32));
	in->rating = ratings ? place(layout, n, sizeof(float)) : 0;
	in->time = times ? place(layout, n, sizeof(double)) : 0;
	place_features(layout, &from->users, &in->users);
	place_features(layout, &from->items, &in->items);
	place_features(layout, &from->context, &in->context);
}

/* what stands against a block of so many bytes, if anything */
static bool
find_misfit(size_t bytes, TrainMisfit *misfit)
{
	struct statvfs room;

	memset(misfit, 0, sizeof(*misfit));
	if (bytes > SIZE_MAX / 4)
		misfit->message = "training would need too much memory";
	else if (bytes / 1024 > (size_t) recsys_train_memory)
	{
		misfit->message = "training does not fit into recsys.train_memory";
		misfit->detail =
			psprintf("%zu MB of shared memory are needed, and "
					 "%d MB allowed.",
					 bytes / (1024 * 1024), recsys_train_memory / 1024);
		misfit->hint = "Raise recsys.train_memory, or train with a smaller "
					   "dim or fewer rows.";
	}
	else if (dynamic_shared_memory_type == DSM_IMPL_POSIX &&
			 statvfs("/dev/shm", &room) == 0 &&
			 bytes / room.f_frsize >= room.f_bavail)
	{
		misfit->message = "training does not fit into /dev/shm";
		misfit->detail =
			psprintf("%zu MB of shared memory are needed, and %zu MB are free.",
					 bytes / (1024 * 1024),
					 (size_t) room.f_bavail * room.f_frsize / (1024 * 1024));
		misfit->hint = "Enlarge /dev/shm (docker run --shm-size), or set "
					   "dynamic_shared_memory_type to mmap.";
	}
	return misfit->message != NULL;
}

static void
refuse_misfit(const TrainMisfit *misfit)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("%s", misfit->message),
			 misfit->detail ? errdetail("%s", misfit->detail) : 0,
			 misfit->hint ? errhint("%s", misfit->hint) : 0));
}

static void
copy(JobShared *job, size_t offset, const void *from, size_t bytes)
{
	if (offset != 0 && bytes > 0)
		memcpy(job_at(job, offset), from, bytes);
}

static void
fill_features(JobShared *job, const TrainFeatures *from, const JobFeatures *to)
{
	size_t nnz;

	if (to->n_rows == 0)
		return;
	nnz = (size_t) from->ptr[to->n_rows];
	copy(job, to->ptr, from->ptr, ((size_t) to->n_rows + 1) * sizeof(int64));
	copy(job, to->col, from->col, nnz * sizeof(int32));
	copy(job, to->val, from->val, nnz * sizeof(float));
}

static void
fill_chunk(JobShared *job, const TrainRows *rows, const TrainChunk *chunk,
		   int64 first, int n)
{
	const JobInput *in = &job->input;
	int32 *user = (int32 *) job_at(job, in->user) + first;
	int32 *item = (int32 *) job_at(job, in->item) + first;

	for (int i = 0; i < n; i++)
	{
		user[i] = rows->users.rank[chunk->user[i]];
		item[i] = rows->items.rank[chunk->item[i]];
	}
	if (in->rating != 0)
		memcpy((float *) job_at(job, in->rating) + first, chunk->rating,
			   (size_t) n * sizeof(float));
	if (in->time != 0)
		memcpy((double *) job_at(job, in->time) + first, chunk->time,
			   (size_t) n * sizeof(double));
}

static void
free_columns(TrainChunk *chunk, bool ratings, bool times)
{
	if (ratings && chunk->rating != NULL)
		pfree(chunk->rating);
	if (times && chunk->time != NULL)
		pfree(chunk->time);
	if (ratings)
		chunk->rating = NULL;
	if (times)
		chunk->time = NULL;
}

/*
 * malloc keeps what is freed below memory in use, and that would be all of
 * the chunks, while the workers compute.
 */
static void
give_back(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

/* columns that are not in the block, before that is made */
static void
free_unread(TrainRows *rows, const JobInput *in)
{
	for (int c = 0; c < rows->n_chunks; c++)
		free_columns(rows->chunk[c], in->rating == 0, in->time == 0);
	if ((rows->has_rating && in->rating == 0) ||
		(rows->has_time && in->time == 0))
		give_back();
}

/* every chunk is given back when it is in the block */
static void
fill_rows(JobShared *job, TrainRows *rows)
{
	for (int c = 0; c < rows->n_chunks; c++)
	{
		int64 first = (int64) c * TRAIN_CHUNK;

		CHECK_FOR_INTERRUPTS();
		fill_chunk(job, rows, rows->chunk[c], first,
				   (int) Min(rows->n - first, TRAIN_CHUNK));
		free_columns(rows->chunk[c], true, true);
		pfree(rows->chunk[c]);
		if (c % TRIM_CHUNKS == TRIM_CHUNKS - 1)
			give_back();
	}
	rows->n_chunks = 0;
	give_back();
}

/*
 * The block's parts: *config settled by the rows, *arena where what job_run
 * allocates begins. Returns the size of all.
 */
static size_t
plan_block(const TrainTeam *team, TrainInput *from, JobConfig *config,
		   JobInput *input, size_t *arena)
{
	Layout layout = {0};
	size_t need;

	place(&layout, 1, sizeof(JobShared));
	train_settle_positive(&from->rows, config);
	place_input(&layout, config, from, input);
	*arena = layout.used;
	need = job_arena_size(config, input, team->size);
	if (need > SIZE_MAX / 4 || layout.used > SIZE_MAX / 4)
		return SIZE_MAX / 2;
	return layout.used + need;
}

bool
train_segment_misfit(const TrainTeam *team, const JobConfig *config,
					 TrainInput *from, TrainMisfit *misfit)
{
	JobConfig settled = *config;
	JobInput input;
	size_t arena;

	return find_misfit(plan_block(team, from, &settled, &input, &arena),
					   misfit);
}

/* the rows are freed, keys and features stay */
void
train_segment_make(TrainTeam *team, const TrainArgs *args, TrainInput *from)
{
	TrainRows *rows = &from->rows;
	JobConfig config = args->config;
	TrainMisfit misfit;
	JobInput input;
	JobShared *job;
	size_t arena;
	size_t size = plan_block(team, from, &config, &input, &arena);

	if (find_misfit(size, &misfit))
		refuse_misfit(&misfit);
	free_unread(rows, &input);
	team->data_segment = dsm_create(size, 0);
	job = dsm_segment_address(team->data_segment);
	/* blocks of min_dynamic_shared_memory have been used before */
	if (min_dynamic_shared_memory > 0)
		memset(job, 0, size);
	job->magic = JOB_MAGIC;
	job->workers = team->size;
	job->size = size;
	job->arena = arena;
	job->config = config;
	job->input = input;
	strlcpy(job->progress.phase, "waiting", sizeof(job->progress.phase));
	team->job = job;
	fill_rows(job, rows);
	fill_features(job, &from->users, &job->input.users);
	fill_features(job, &from->items, &job->input.items);
	fill_features(job, &from->context, &job->input.context);
}

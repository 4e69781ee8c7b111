/*
 * dataset.c
 *		From rows in any order to compressed lists by user and by item.
 *
 * Every member counts nothing and writes nothing outside its own range of
 * users (or items), so the result is the same for any team:
 *
 *	1. rank 0 counts rows a user;
 *	2. each member collects the row numbers of its users, in input order,
 *	   sorts them by (item, time, input order) and marks the survivors;
 *	3. rank 0 sums the numbers of survivors;
 *	4. each member writes the lists of its users;
 *	5. the same by item, from the lists by user.
 *
 * With tens of millions of rows what is held at once decides how much memory
 * a training takes: row numbers have 32 bits, and the list of users by item
 * may take the place of the input's users (DatasetOptions.consume).
 */
#include "model/dataset.h"

#include <string.h>

#include "math/hooks.h"

#define CHECK_EVERY 65536 /* rows between two looks at the stop flag */

typedef struct Key
{
	int32_t item;
	uint32_t row; /* of the input */
	double time;
} Key;

typedef struct Build
{
	Team *team;
	const JobInput *in;
	const DatasetOptions *opt;
	Dataset *ds;
	const int32_t *user;
	const int32_t *item;
	const float *rating;
	const double *time;
	int64_t *ptr;     /* (n_users + 1) of the rows before removal */
	uint32_t *source; /* (n) input rows by user */
	int32_t *kept;    /* (n_users) survivors; counts while counting */
	int64_t n_rows;
} Build;

static bool
has_ratings(const JobInput *in, const DatasetOptions *opt)
{
	return in->rating != 0 ? opt->ratings : opt->counts && !opt->repeats;
}

size_t
dataset_size(const JobInput *in, const DatasetOptions *opt)
{
	size_t n = (size_t) in->n;
	size_t size = 4096;

	size += 2 * arena_need((size_t) in->n_users + 1, sizeof(int64_t));
	size += 2 * arena_need((size_t) in->n_items + 1, sizeof(int64_t));
	size += arena_need(n, sizeof(int32_t)) * (opt->consume ? 1 : 2);
	if (has_ratings(in, opt))
		size += arena_need(n, sizeof(float));
	if (opt->times && in->time != 0)
		size += arena_need(n, sizeof(double));
	if (opt->rows)
		size += arena_need(n, sizeof(int64_t));
	if (opt->sources)
		size += arena_need(n, sizeof(uint32_t));
	return size;
}

size_t
dataset_scratch(const JobInput *in)
{
	return arena_need((size_t) in->n, sizeof(uint32_t)) +
		   arena_need((size_t) in->n_users + 1, sizeof(int64_t)) +
		   arena_need((size_t) in->n_users + 1, sizeof(int32_t)) + 64;
}

static bool
is_positive(const Build *b, int64_t r)
{
	return b->rating == NULL ||
		   job_is_positive(b->opt->positive_kind, b->opt->positive_value,
						   b->rating[r]);
}

/* users (or items) of this member: as many rows as the others have */
static void
part_of(const Team *team, const int64_t *ptr, int32_t n, int32_t *from,
		int32_t *to)
{
	int64_t total = ptr[n];
	int32_t bound[2];

	for (int side = 0; side < 2; side++)
	{
		int64_t want = total * (team->rank + side) / team->size;
		int32_t lo = 0;
		int32_t hi = n;

		while (lo < hi)
		{
			int32_t mid = lo + (hi - lo) / 2;

			if (ptr[mid] < want)
				lo = mid + 1;
			else
				hi = mid;
		}
		bound[side] = lo;
	}
	*from = team->rank == 0 ? 0 : bound[0];
	*to = team->rank == team->size - 1 ? n : bound[1];
}

static void
count_users(Build *b)
{
	int32_t n_users = b->in->n_users;

	memset(b->kept, 0, sizeof(int32_t) * (size_t) n_users);
	for (int64_t r = 0; r < b->in->n; r++)
	{
		if ((r & (CHECK_EVERY - 1)) == 0 && team_stopped(b->team) != RS_OK)
			return;
		if (is_positive(b, r))
			b->kept[b->user[r]]++;
	}
	b->ptr[0] = 0;
	for (int32_t u = 0; u < n_users; u++)
		b->ptr[u + 1] = b->ptr[u] + b->kept[u];
}

/* input rows of users from .. to-1, by user, in input order */
static RsStatus
collect_rows(Build *b, int32_t from, int32_t to)
{
	for (int32_t u = from; u < to; u++)
		b->kept[u] = 0;
	for (int64_t r = 0; r < b->in->n; r++)
	{
		int32_t u = b->user[r];

		if ((r & (CHECK_EVERY - 1)) == 0 && team_stopped(b->team) != RS_OK)
			return team_stopped(b->team);
		if (u >= from && u < to && is_positive(b, r))
			b->source[b->ptr[u] + b->kept[u]++] = (uint32_t) r;
	}
	return RS_OK;
}

static inline bool
key_less(const Key *a, const Key *b)
{
	if (a->item != b->item)
		return a->item < b->item;
	if (a->time != b->time)
		return a->time < b->time;
	return a->row < b->row;
}

static void
sift_down(Key *k, int64_t i, int64_t n)
{
	Key x = k[i];

	for (;;)
	{
		int64_t c = 2 * i + 1;

		if (c >= n)
			break;
		if (c + 1 < n && key_less(&k[c], &k[c + 1]))
			c++;
		if (!key_less(&x, &k[c]))
			break;
		k[i] = k[c];
		i = c;
	}
	k[i] = x;
}

/* insertion sort for short lists, heap sort for long ones: no worst case */
static void
sort_keys(Key *k, int64_t n)
{
	if (n <= 24)
	{
		for (int64_t i = 1; i < n; i++)
		{
			Key x = k[i];
			int64_t j = i;

			for (; j > 0 && key_less(&x, &k[j - 1]); j--)
				k[j] = k[j - 1];
			k[j] = x;
		}
		return;
	}
	for (int64_t i = n / 2 - 1; i >= 0; i--)
		sift_down(k, i, n);
	for (int64_t i = n - 1; i > 0; i--)
	{
		Key x = k[0];

		k[0] = k[i];
		k[i] = x;
		sift_down(k, 0, i);
	}
}

/* sort the rows of one user in place; returns how many of them are kept */
static int32_t
sort_user(Build *b, int32_t u, Key *keys)
{
	int64_t n = b->ptr[u + 1] - b->ptr[u];
	uint32_t *source = b->source + b->ptr[u];
	int32_t kept = 0;

	for (int64_t i = 0; i < n; i++)
	{
		keys[i].item = b->item[source[i]];
		keys[i].row = source[i];
		keys[i].time = b->time != NULL ? b->time[source[i]] : 0;
	}
	sort_keys(keys, n);
	for (int64_t i = 0; i < n; i++)
	{
		source[i] = keys[i].row;
		kept += b->opt->repeats || i == 0 || keys[i].item != keys[i - 1].item;
	}
	return kept;
}

static RsStatus
sort_users(Build *b, int32_t from, int32_t to)
{
	int64_t most = 1;
	Key *keys;
	RsStatus st = RS_OK;

	for (int32_t u = from; u < to; u++)
		if (b->ptr[u + 1] - b->ptr[u] > most)
			most = b->ptr[u + 1] - b->ptr[u];
	keys = math_alloc_array((size_t) most, sizeof(Key));
	if (keys == NULL)
		return RS_NO_MEMORY;
	for (int32_t u = from; u < to && st == RS_OK; u++)
	{
		b->kept[u] = sort_user(b, u, keys);
		if ((u & 255) == 0)
			st = team_stopped(b->team);
	}
	math_release(keys);
	return st;
}

static void
write_users(Build *b, int32_t from, int32_t to)
{
	Dataset *ds = b->ds;

	for (int32_t u = from; u < to; u++)
	{
		int64_t out = ds->user_ptr[u] - 1;
		int32_t last = -1;

		if ((u & 255) == 0 && team_stopped(b->team) != RS_OK)
			return;
		ds->user_end[u] = ds->user_ptr[u + 1];
		for (int64_t i = b->ptr[u]; i < b->ptr[u + 1]; i++)
		{
			int64_t r = b->source[i];
			bool fresh = b->opt->repeats || b->item[r] != last;

			/* a later row of the same pair overwrites the earlier one */
			out += fresh;
			last = ds->item[out] = b->item[r];
			if (b->rating != NULL && ds->rating != NULL)
				ds->rating[out] = b->rating[r];
			else if (ds->rating != NULL)
				ds->rating[out] = fresh ? 1 : ds->rating[out] + 1;
			if (ds->time != NULL)
				ds->time[out] = b->time[r];
			if (ds->source != NULL)
				ds->source[out] = (uint32_t) r;
		}
	}
}

RsStatus
dataset_by_item(Team *team, Dataset *ds)
{
	int32_t from;
	int32_t to;
	int64_t *at;
	RsStatus st;

	if ((st = team_barrier(team)) != RS_OK)
		return st;
	part_of(team, ds->item_ptr, ds->n_items, &from, &to);
	at = math_alloc_array((size_t) (to - from) + 1, sizeof(int64_t));
	if (at == NULL)
		team_stop(team, RS_NO_MEMORY);
	for (int32_t i = from; at != NULL && i < to; i++)
		at[i - from] = ds->item_ptr[i];
	/* training interactions first, then the held-out ones */
	for (int held = 0; at != NULL && held < 2; held++)
	{
		for (int32_t u = 0; u < ds->n_users; u++)
		{
			int64_t a = held ? ds->user_end[u] : ds->user_ptr[u];
			int64_t b = held ? ds->user_ptr[u + 1] : ds->user_end[u];

			for (int64_t r = a; r < b; r++)
			{
				int32_t i = ds->item[r];

				if (i < from || i >= to)
					continue;
				ds->user[at[i - from]] = u;
				if (ds->row != NULL)
					ds->row[at[i - from]] = r;
				at[i - from]++;
			}
			if ((u & 4095) == 0 && team_stopped(team) != RS_OK)
				break;
		}
		for (int32_t i = from; held == 0 && i < to; i++)
			ds->item_end[i] = at[i - from];
	}
	math_release(at);
	return team_barrier(team);
}

static bool
alloc_lists(Arena *arena, JobShared *job, const DatasetOptions *opt,
			Dataset *ds)
{
	const JobInput *in = &job->input;
	size_t n = (size_t) in->n;

	ds->item = arena_alloc(arena, n, sizeof(int32_t));
	ds->user = opt->consume ? job_at(job, in->user)
							: arena_alloc(arena, n, sizeof(int32_t));
	if (has_ratings(in, opt))
		ds->rating = arena_alloc(arena, n, sizeof(float));
	if (opt->times && in->time != 0)
		ds->time = arena_alloc(arena, n, sizeof(double));
	if (opt->rows)
		ds->row = arena_alloc(arena, n, sizeof(int64_t));
	if (opt->sources)
		ds->source = arena_alloc(arena, n, sizeof(uint32_t));
	return ds->item != NULL && ds->user != NULL &&
		   (ds->rating != NULL || !has_ratings(in, opt)) &&
		   (ds->time != NULL || !opt->times || in->time == 0) &&
		   (ds->row != NULL || !opt->rows) &&
		   (ds->source != NULL || !opt->sources);
}

/* rank 0: pointers by user and by item */
static void
sum_pointers(Build *b)
{
	Dataset *ds = b->ds;
	int32_t n_users = ds->n_users;

	ds->user_ptr[0] = 0;
	for (int32_t u = 0; u < n_users; u++)
		ds->user_ptr[u + 1] = ds->user_ptr[u] + b->kept[u];
}

static void
count_items(Team *team, Dataset *ds)
{
	memset(ds->item_ptr, 0, sizeof(int64_t) * ((size_t) ds->n_items + 1));
	for (int64_t r = 0; r < ds->user_ptr[ds->n_users]; r++)
	{
		if ((r & (CHECK_EVERY - 1)) == 0 && team_stopped(team) != RS_OK)
			return;
		ds->item_ptr[ds->item[r] + 1]++;
	}
	for (int32_t i = 0; i < ds->n_items; i++)
		ds->item_ptr[i + 1] += ds->item_ptr[i];
}

static RsStatus
build_users(Build *b, int32_t *from, int32_t *to)
{
	RsStatus st;

	if (b->team->rank == 0)
		count_users(b);
	if ((st = team_barrier(b->team)) != RS_OK)
		return st;
	b->n_rows = b->ptr[b->in->n_users];
	part_of(b->team, b->ptr, b->in->n_users, from, to);
	if ((st = team_barrier(b->team)) != RS_OK)
		return st;
	st = collect_rows(b, *from, *to);
	if (st == RS_OK)
		st = sort_users(b, *from, *to);
	if (st != RS_OK)
		team_stop(b->team, st);
	if ((st = team_barrier(b->team)) != RS_OK)
		return st;
	if (b->team->rank == 0)
		sum_pointers(b);
	return team_barrier(b->team);
}

RsStatus
dataset_build(Team *team, Arena *arena, JobShared *job,
			  const DatasetOptions *opt, Dataset *ds)
{
	const JobInput *in = &job->input;
	Build b = {.team = team, .in = in, .opt = opt, .ds = ds};
	size_t mark;
	int32_t from;
	int32_t to;
	RsStatus st;

	memset(ds, 0, sizeof(*ds));
	ds->n_users = in->n_users;
	ds->n_items = in->n_items;
	b.user = job_at(job, in->user);
	b.item = job_at(job, in->item);
	b.rating = job_at(job, in->rating);
	b.time = job_at(job, in->time);
	ds->user_ptr = arena_alloc(arena, (size_t) in->n_users + 1, 8);
	ds->user_end = arena_alloc(arena, (size_t) in->n_users + 1, 8);
	ds->item_ptr = arena_alloc(arena, (size_t) in->n_items + 1, 8);
	ds->item_end = arena_alloc(arena, (size_t) in->n_items + 1, 8);
	if (ds->item_end == NULL || !alloc_lists(arena, job, opt, ds))
		return RS_NO_MEMORY;
	mark = arena_mark(arena);
	b.source = arena_alloc(arena, (size_t) in->n, sizeof(uint32_t));
	b.ptr = arena_alloc(arena, (size_t) in->n_users + 1, sizeof(int64_t));
	b.kept = arena_alloc(arena, (size_t) in->n_users + 1, sizeof(int32_t));
	if (b.source == NULL || b.ptr == NULL || b.kept == NULL ||
		in->n > DATASET_MOST)
		return RS_NO_MEMORY;
	if ((st = build_users(&b, &from, &to)) != RS_OK)
		return st;
	/* memory that is not written is not taken: nothing to count, or nearly so */
	if (b.rating == NULL && 100 * (b.n_rows - ds->user_ptr[ds->n_users]) <
								ds->user_ptr[ds->n_users])
		ds->rating = NULL;
	write_users(&b, from, to);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	arena_reset(arena, mark);
	ds->n = ds->user_ptr[in->n_users];
	ds->n_duplicates = b.n_rows - ds->n;
	ds->n_filtered = in->n - b.n_rows;
	if (team->rank == 0)
		count_items(team, ds);
	return dataset_by_item(team, ds);
}

DatasetSide
dataset_users(const Dataset *ds, bool all)
{
	DatasetSide s = {ds->n_users, ds->n_items, ds->user_ptr,
					 all ? ds->user_ptr + 1 : ds->user_end, ds->item};

	return s;
}

DatasetSide
dataset_items(const Dataset *ds, bool all)
{
	DatasetSide s = {ds->n_items, ds->n_users, ds->item_ptr,
					 all ? ds->item_ptr + 1 : ds->item_end, ds->user};

	return s;
}

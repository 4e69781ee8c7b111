/*
 * split.c
 *		Holding out interactions for validation.
 *
 * Every interaction has a 64-bit key that depends on the seed and on its
 * user and item (or its time), not on its place; the rows with the smallest
 * keys are held out. The threshold comes from a radix selection, so no array
 * of keys is needed.
 */
#include "model/split.h"

#include <math.h>
#include <string.h>

#include "math/hooks.h"

#define BINS 65536
#define CHECK_USERS 1024 /* between two looks at the stop flag */

typedef struct Held
{
	Team *team;
	const Dataset *ds;
	JobSplit kind;
	uint64_t seed;
	uint64_t threshold; /* keys below are held out */
	int64_t ties;       /* and so many of the keys equal to it */
} Held;

static bool
stopped(Team *team, int32_t u)
{
	return u % CHECK_USERS == 0 && team_stopped(team) != RS_OK;
}

static uint64_t
mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint64_t
random_key(const Held *h, int32_t user, int64_t r)
{
	uint64_t pair =
		((uint64_t) (uint32_t) user << 32) | (uint32_t) h->ds->item[r];

	return mix(mix(pair + 0x9e3779b97f4a7c15ULL) ^
			   mix(h->seed + 0x632be59bd9b4e019ULL));
}

/* the newer, the smaller */
static uint64_t
time_key(double time)
{
	uint64_t bits;

	memcpy(&bits, &time, sizeof(bits));
	bits = bits >> 63 ? ~bits : bits | (1ULL << 63);
	return ~bits;
}

static uint64_t
key_of(const Held *h, int32_t user, int64_t r)
{
	return h->kind == SPLIT_TIME ? time_key(h->ds->time[r])
								 : random_key(h, user, r);
}

/* threshold and ties such that exactly want rows are held out */
static RsStatus
select_threshold(Held *h, int64_t want)
{
	const Dataset *ds = h->ds;
	int64_t *bins = math_alloc_array(BINS, sizeof(int64_t));
	uint64_t prefix = 0;

	if (bins == NULL)
		return RS_NO_MEMORY;
	for (int shift = 48; shift >= 0; shift -= 16)
	{
		uint64_t b = 0;

		memset(bins, 0, BINS * sizeof(int64_t));
		for (int32_t u = 0; u < ds->n_users && !stopped(h->team, u); u++)
			for (int64_t r = ds->user_ptr[u]; r < ds->user_ptr[u + 1]; r++)
			{
				uint64_t key = key_of(h, u, r);

				if (shift == 48 || (key >> (shift + 16)) == prefix)
					bins[(key >> shift) & (BINS - 1)]++;
			}
		while (b < BINS - 1 && bins[b] < want)
			want -= bins[b++];
		prefix = (prefix << 16) | b;
	}
	math_release(bins);
	h->threshold = prefix;
	h->ties = want;
	return team_stopped(h->team);
}

/* among rows of equal time the seed decides; returns the newest row */
static int64_t
last_row(const Held *h, int32_t u)
{
	const Dataset *ds = h->ds;
	int64_t best = ds->user_ptr[u];

	for (int64_t r = best + 1; r < ds->user_ptr[u + 1]; r++)
		if (ds->time[r] > ds->time[best] ||
			(ds->time[r] == ds->time[best] &&
			 random_key(h, u, r) < random_key(h, u, best)))
			best = r;
	return best;
}

static void
swap_rows(Dataset *ds, int64_t a, int64_t b)
{
#define SWAP(type, x)                                                          \
	do                                                                         \
	{                                                                          \
		type t_ = (x)[a];                                                      \
		(x)[a] = (x)[b];                                                       \
		(x)[b] = t_;                                                           \
	} while (0)
	SWAP(int32_t, ds->item);
	if (ds->rating != NULL)
		SWAP(float, ds->rating);
	if (ds->time != NULL)
		SWAP(double, ds->time);
	if (ds->source != NULL)
		SWAP(uint32_t, ds->source);
#undef SWAP
}

static bool
item_less(const Dataset *ds, int64_t a, int64_t b)
{
	return ds->item[a] < ds->item[b];
}

static void
sift_row(Dataset *ds, int64_t first, int64_t i, int64_t n)
{
	for (;;)
	{
		int64_t c = 2 * i + 1;

		if (c >= n)
			return;
		if (c + 1 < n && item_less(ds, first + c, first + c + 1))
			c++;
		if (!item_less(ds, first + i, first + c))
			return;
		swap_rows(ds, first + i, first + c);
		i = c;
	}
}

/* the user's list ascending again (heap sort), all in the training part */
static void
merge_user(Dataset *ds, int32_t u)
{
	int64_t first = ds->user_ptr[u];
	int64_t n = ds->user_ptr[u + 1] - first;

	for (int64_t i = n / 2 - 1; i >= 0; i--)
		sift_row(ds, first, i, n);
	for (int64_t i = n - 1; i > 0; i--)
	{
		swap_rows(ds, first, first + i);
		sift_row(ds, first, 0, i);
	}
	ds->user_end[u] = first + n;
}

/* stable: held rows keep their order behind the training rows */
static void
part_user(Dataset *ds, int32_t u, const uint8_t *held, int32_t *perm)
{
	int64_t a = ds->user_ptr[u];
	int64_t n = ds->user_ptr[u + 1] - a;
	int64_t k = 0;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int64_t i = 0; i < n; i++)
			if (held[i] == pass)
				perm[k++] = (int32_t) i;
		if (pass == 0)
			ds->user_end[u] = a + k;
	}
	/* follow the permutation by swaps: place i gets what perm[i] names */
	for (int64_t i = 0; i < n; i++)
	{
		int64_t from = perm[i];

		while (from < i)
			from = perm[from];
		if (from != i)
			swap_rows(ds, a + i, a + from);
	}
}

static RsStatus
part_users(Team *team, Dataset *ds, Held *h)
{
	int64_t most = 1;
	uint8_t *held;
	int32_t *perm;
	RsStatus st = RS_OK;

	for (int32_t u = 0; u < ds->n_users; u++)
		if (ds->user_ptr[u + 1] - ds->user_ptr[u] > most)
			most = ds->user_ptr[u + 1] - ds->user_ptr[u];
	held = math_alloc_array((size_t) most, 1);
	perm = math_alloc_array((size_t) most, sizeof(int32_t));
	if (held == NULL || perm == NULL)
		st = RS_NO_MEMORY;
	for (int32_t u = 0; u < ds->n_users && st == RS_OK; u++)
	{
		int64_t a = ds->user_ptr[u];
		int64_t n = ds->user_ptr[u + 1] - a;
		int64_t last = h->kind == SPLIT_LAST && n > 1 ? last_row(h, u) : -1;

		for (int64_t i = 0; i < n; i++)
		{
			uint64_t key;

			if (h->kind == SPLIT_LAST)
			{
				held[i] = a + i == last;
				continue;
			}
			key = key_of(h, u, a + i);
			held[i] =
				key < h->threshold || (key == h->threshold && h->ties-- > 0);
		}
		part_user(ds, u, held, perm);
		if ((u & 1023) == 0)
			st = team_stopped(team);
	}
	math_release(held);
	math_release(perm);
	return st;
}

/* rank 0's part of a split */
static RsStatus
split_users(Team *team, Dataset *ds, JobSplit kind, double fraction,
			uint64_t seed)
{
	Held h = {.team = team, .ds = ds, .kind = kind, .seed = seed};
	int64_t want = (int64_t) llround(fraction * (double) ds->n);
	RsStatus st = RS_OK;

	for (int32_t u = 0; u < ds->n_users && !stopped(team, u); u++)
		if (ds->user_end[u] != ds->user_ptr[u + 1])
			merge_user(ds, u);
	if (want >= ds->n)
		want = ds->n - 1;
	if (want <= 0 && kind != SPLIT_LAST)
		return RS_OK;
	if (kind != SPLIT_LAST)
		st = select_threshold(&h, want);
	return st == RS_OK ? part_users(team, ds, &h) : st;
}

static RsStatus
finish_split(Team *team, Dataset *ds)
{
	RsStatus st = team_barrier(team);

	if (st != RS_OK)
		return st;
	ds->n_held = 0;
	for (int32_t u = 0; u < ds->n_users; u++)
		ds->n_held += ds->user_ptr[u + 1] - ds->user_end[u];
	return dataset_by_item(team, ds);
}

RsStatus
dataset_split(Team *team, Dataset *ds, JobSplit kind, double fraction,
			  uint64_t seed)
{
	RsStatus st;

	if (kind != SPLIT_RANDOM && ds->time == NULL)
		return RS_INVALID;
	if (!(fraction >= 0 && fraction <= 1) && kind != SPLIT_LAST)
		return RS_INVALID;
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	if (team->rank == 0 &&
		(st = split_users(team, ds, kind, fraction, seed)) != RS_OK)
		team_stop(team, st);
	return finish_split(team, ds);
}

RsStatus
dataset_unsplit(Team *team, Dataset *ds)
{
	RsStatus st = team_barrier(team);

	if (st != RS_OK)
		return st;
	if (team->rank == 0)
		for (int32_t u = 0; u < ds->n_users && !stopped(team, u); u++)
			merge_user(ds, u);
	return finish_split(team, ds);
}

/*
 * test_tower_start.c
 *		Where towers with layers begin: with steps too small to matter, vectors
 *		are the spectrum's, and items that nobody has met are placed by their
 *		features.
 */
#include "check.h"
#include "rank_testing.h"

#include "math/vec.h"
#include "model/spectral.h"

#define USERS 300
#define ITEMS 120
#define COLD 100 /* from here on nobody has met them */
#define GROUPS 5
#define DIM 16

/* users like their group's items; kinds are the groups */
static TestRatings
make_ratings(void)
{
	TestRatings x = {.n_users = USERS, .n_items = ITEMS, .n_kinds = GROUPS};
	Rng rng;

	x.user = malloc(sizeof(int32_t) * USERS * ITEMS);
	x.item = malloc(sizeof(int32_t) * USERS * ITEMS);
	x.rating = malloc(sizeof(float) * USERS * ITEMS);
	x.kind = malloc(sizeof(int32_t) * ITEMS);
	rng_init(&rng, 17, 0);
	for (int32_t i = 0; i < ITEMS; i++)
		x.kind[i] = i % GROUPS;
	for (int32_t u = 0; u < USERS; u++)
		for (int32_t i = 0; i < COLD; i++)
		{
			if (rng_uniform(&rng) > (u % GROUPS == i % GROUPS ? 0.3 : 0.05))
				continue;
			x.user[x.n] = u;
			x.item[x.n] = i;
			x.rating[x.n++] = 1;
		}
	return x;
}

/* cosines of the stored vectors (n) with the spectrum's */
static void
check_spectrum(const float *stored, const float *spectrum, int n)
{
	for (int r = 0; r < n; r++)
	{
		const float *s = spectrum + (size_t) r * DIM;
		const float *x = stored + (size_t) r * DIM;

		CHECK(fabs(vec_dot(x, x, DIM) - 1) < 1e-4);
		CHECK(vec_dot(x, s, DIM) > 0.9999 * sqrt(vec_dot(s, s, DIM)));
	}
}

static void
test_spectrum(const TestRatings *x, const JobConfig *c, const JobShared *done)
{
	DatasetOptions opt = {0};
	JobShared *job = test_job(x, c, 1);
	size_t size = (size_t) 1 << 24;
	char *memory = aligned_alloc(64, size);
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	DatasetSide side[2];
	Dataset ds;
	Arena arena;
	float users[USERS * DIM];
	float items[ITEMS * DIM];

	arena_init(&arena, memory, size);
	CHECK(dataset_build(&team, &arena, job, &opt, &ds) == RS_OK);
	side[0] = dataset_users(&ds, true);
	side[1] = dataset_items(&ds, true);
	CHECK(spectral_vectors(&team, &side[0], &side[1], DIM, c->seed, &arena,
						   users, items) == RS_OK);
	check_spectrum(job_at((JobShared *) done, done->output.user_vector), users,
				   USERS);
	check_spectrum(job_at((JobShared *) done, done->output.item_vector), items,
				   COLD);
	free(memory);
	free(job);
}

/* items without interactions are nearest to the users of their kind */
static void
test_cold(JobShared *job)
{
	const float *users = job_at(job, job->output.user_vector);
	const float *items = job_at(job, job->output.item_vector);

	for (int i = COLD; i < ITEMS; i++)
	{
		double sum[GROUPS] = {0};

		for (int u = 0; u < USERS; u++)
			sum[u % GROUPS] += vec_dot(users + (size_t) u * DIM,
									   items + (size_t) i * DIM, DIM);
		for (int g = 0; g < GROUPS; g++)
			CHECK(g == i % GROUPS || sum[g] < sum[i % GROUPS]);
	}
}

int
main(void)
{
	TestRatings x = make_ratings();
	JobConfig c = test_config();

	c.ranking = false;
	c.retrieval = true;
	c.logq = c.accidental = c.normalize = c.negatives = -1;
	c.temperature = c.alpha0 = NAN;
	c.valid_fraction = 0;
	c.dim = DIM;
	c.n_hidden = 1;
	c.hidden[0] = 8;
	c.epochs = 1;
	c.learning_rate = 1e-7f;
	for (int workers = 1; workers <= 3; workers++)
	{
		JobShared *job = test_job(&x, &c, workers);

		CHECK(test_run(job) == RS_OK);
		if (workers == 1)
			test_spectrum(&x, &c, job);
		test_cold(job);
		free(job);
	}
	test_free(&x);
	return check_summary();
}

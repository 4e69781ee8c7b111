/*
 * test_user_softmax.c
 *		Gradients of the shared softmax against finite differences; the
 *		trainer against its reference; equal bytes for equal teams; the
 *		spectrum of a planted matrix.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "model/spectral.h"
#include "model/user_softmax.h"

#define USERS 60
#define ITEMS 45
#define GROUPS 3
#define DIM 12
#define MOST 2000

static int64_t user_ptr[USERS + 1];
static int64_t item_ptr[ITEMS + 1];
static int32_t user_index[MOST];
static int32_t item_index[MOST];
static const DatasetSide by_user = {USERS, ITEMS, user_ptr, user_ptr + 1,
									user_index};
static const DatasetSide by_item = {ITEMS, USERS, item_ptr, item_ptr + 1,
									item_index};

/* users of a group like items of the same group; user 0 has nothing */
static void
make_data(void)
{
	static char has[USERS][ITEMS];
	int64_t n = 0;
	Rng rng;

	rng_init(&rng, 7, 0);
	for (int u = 1; u < USERS; u++)
		for (int i = 0; i < ITEMS; i++)
			has[u][i] =
				rng_uniform(&rng) < (u % GROUPS == i % GROUPS ? 0.6 : 0.03);
	for (int u = 0; u < USERS; u++)
	{
		user_ptr[u] = n;
		for (int i = 0; i < ITEMS; i++)
			if (has[u][i])
				user_index[n++] = i;
	}
	user_ptr[USERS] = n;
	n = 0;
	for (int i = 0; i < ITEMS; i++)
	{
		item_ptr[i] = n;
		for (int u = 0; u < USERS; u++)
			if (has[u][i])
				item_index[n++] = u;
	}
	item_ptr[ITEMS] = n;
}

static void
random_fill(float *x, int n, uint64_t stream)
{
	Rng rng;

	rng_init(&rng, 3, stream);
	for (int k = 0; k < n; k++)
		x[k] = (float) rng_normal(&rng);
}

static void
test_gradient(void)
{
	static float users[USERS * DIM];
	static float items[ITEMS * DIM];
	static float gu[USERS * DIM];
	static float gi[ITEMS * DIM];
	static float scratch_u[USERS * DIM];
	static float scratch_i[ITEMS * DIM];
	int32_t neg[20];
	double worst = 0;

	random_fill(users, USERS * DIM, 1);
	random_fill(items, ITEMS * DIM, 2);
	for (int j = 0; j < 20; j++)
		neg[j] = j * 2;
	user_softmax_reference(&by_user, DIM, 0.3f, users, items, neg, 20, gu, gi);
	for (int k = 0; k < 200; k++)
	{
		int item_side = k % 2;
		float *x = item_side ? items : users;
		float *g = item_side ? gi : gu;
		int at = (k * 37) % ((item_side ? ITEMS : USERS) * DIM);
		float keep = x[at];
		double h = 1e-2;
		double up;
		double down;

		x[at] = keep + (float) h;
		up = user_softmax_reference(&by_user, DIM, 0.3f, users, items, neg, 20,
									scratch_u, scratch_i);
		x[at] = keep - (float) h;
		down = user_softmax_reference(&by_user, DIM, 0.3f, users, items, neg,
									  20, scratch_u, scratch_i);
		x[at] = keep;
		worst = fmax(worst,
					 fabs((up - down) / (2 * h) - g[at]) / (1 + fabs(g[at])));
	}
	CHECK(worst < 5e-3);
}

typedef struct Run
{
	TeamShared shared;
	UserSoftmaxConfig config;
	char *memory;
	size_t size;
	float *users;
	float *items;
	bool spectral;
	double first_loss;
	double last_loss;
	int members;
} Run;

typedef struct Member
{
	Run *run;
	int rank;
	RsStatus status;
} Member;

static RsStatus
note_loss(void *arg, Team *team, int epoch, double loss, bool *stop)
{
	Run *run = arg;

	(void) stop;
	if (team->rank == 0 && epoch == 1)
		run->first_loss = loss;
	if (team->rank == 0)
		run->last_loss = loss;
	return RS_OK;
}

static void *
member_main(void *arg)
{
	Member *m = arg;
	Run *run = m->run;
	Team team = {&run->shared, m->rank, run->members};
	Arena arena;

	arena_init(&arena, run->memory, run->size);
	m->status = RS_OK;
	if (run->spectral)
		m->status = spectral_vectors(&team, &by_user, &by_item, run->config.dim,
									 1, &arena, run->users, run->items);
	if (m->status == RS_OK && run->config.epochs > 0)
		m->status = user_softmax_train(&team, &by_user, &run->config, &arena,
									   run->users, run->items, run->spectral,
									   note_loss, run);
	return NULL;
}

static RsStatus
train(Run *run, int members)
{
	pthread_t thread[8];
	Member member[8];
	size_t a = user_softmax_arena_size(&run->config, USERS, ITEMS,
									   user_ptr[USERS], members);
	size_t b = spectral_arena_size(USERS, ITEMS, run->config.dim, members);

	run->members = members;
	run->size = a > b ? a : b;
	run->memory = aligned_alloc(64, run->size + 64);
	memset(run->memory, 0, run->size);
	memset(&run->shared, 0, sizeof(run->shared));
	run->users = calloc(USERS * (size_t) run->config.dim, sizeof(float));
	run->items = calloc(ITEMS * (size_t) run->config.dim, sizeof(float));
	for (int r = 0; r < members; r++)
	{
		member[r] = (Member){run, r, RS_OK};
		pthread_create(&thread[r], NULL, member_main, &member[r]);
	}
	for (int r = 0; r < members; r++)
		pthread_join(thread[r], NULL);
	free(run->memory);
	return member[0].status;
}

static void
release(Run *run)
{
	free(run->users);
	free(run->items);
}

static const UserSoftmaxConfig usual = {
	.dim = DIM,
	.epochs = 20,
	.batch = 16,
	.positives = 4,
	.negatives = 20,
	.temperature = 0.2f,
	.learning_rate = 0.02f,
	.user_rate = 1,
	.init = 0.1f,
	.decay = true,
	.seed = 5,
};

static double
cosine(const float *a, const float *b)
{
	double ab = 0;
	double aa = 0;
	double bb = 0;

	for (int c = 0; c < DIM; c++)
	{
		ab += a[c] * b[c];
		aa += a[c] * a[c];
		bb += b[c] * b[c];
	}
	return ab / sqrt(aa * bb);
}

/* mean cosine of users with items of their group less that with others */
static double
separation(const Run *run)
{
	double sum[2] = {0, 0};
	double n[2] = {0, 0};

	for (int u = 1; u < USERS; u++)
		for (int i = 0; i < ITEMS; i++)
		{
			int same = u % GROUPS == i % GROUPS;

			sum[same] += cosine(run->users + u * DIM, run->items + i * DIM);
			n[same]++;
		}
	return sum[1] / n[1] - sum[0] / n[0];
}

static void
test_training(void)
{
	for (int members = 1; members <= 3; members++)
		for (int warm = 0; warm < 2; warm++)
		{
			Run a = {.config = usual, .spectral = warm};
			Run b = {.config = usual, .spectral = warm};

			CHECK(train(&a, members) == RS_OK);
			CHECK(train(&b, members) == RS_OK);
			CHECK(memcmp(a.users, b.users, sizeof(float) * USERS * DIM) == 0);
			CHECK(memcmp(a.items, b.items, sizeof(float) * ITEMS * DIM) == 0);
			CHECK(a.last_loss < a.first_loss);
			CHECK(separation(&a) > 0.5);
			for (int k = 0; k < USERS * DIM; k++)
				if (!isfinite(a.users[k]))
					CHECK(!"finite");
			release(&a);
			release(&b);
		}
}

/* what the positives do not say, a teacher of another dimension does */
static void
test_teacher(void)
{
	static float teacher_users[USERS * GROUPS];
	static float teacher_items[ITEMS * GROUPS];
	Run turned = {.config = usual};
	Run alone = {.config = usual};

	/* the teacher knows other groups than the data have */
	for (int u = 0; u < USERS; u++)
		teacher_users[u * GROUPS + (u + 1) % GROUPS] = 1;
	for (int i = 0; i < ITEMS; i++)
		teacher_items[i * GROUPS + i % GROUPS] = 1;
	turned.config.teacher_dim = GROUPS;
	turned.config.teacher_share = 1;
	turned.config.teacher_users = teacher_users;
	turned.config.teacher_items = teacher_items;
	CHECK(train(&turned, 2) == RS_OK);
	CHECK(train(&alone, 2) == RS_OK);
	CHECK(separation(&alone) > 0.5);
	CHECK(separation(&turned) < -0.2);
	release(&turned);
	release(&alone);
}

/* the exact softmax: all items are negatives, so the losses are comparable */
static void
test_against_reference(void)
{
	static float gu[USERS * DIM];
	static float gi[ITEMS * DIM];
	int32_t all[ITEMS];
	Run run = {.config = usual};
	double loss;

	/* one batch, one visit a user, rate 0: nothing moves */
	run.config.epochs = 1;
	run.config.batch = USERS * 2;
	run.config.positives = ITEMS;
	run.config.negatives = ITEMS * 10;
	run.config.learning_rate = 0;
	for (int i = 0; i < ITEMS; i++)
		all[i] = i;
	CHECK(train(&run, 2) == RS_OK);
	loss = user_softmax_reference(&by_user, DIM, usual.temperature, run.users,
								  run.items, all, ITEMS, gu, gi) /
		   (double) user_ptr[USERS];
	CHECK(fabs(loss - run.last_loss) < 1e-4 * fabs(loss) + 1e-5);
	release(&run);
}

/* all visits of a user that meet in a batch count as one, whoever has them */
static void
test_merged(void)
{
	double loss[4];

	for (int members = 1; members <= 3; members++)
	{
		Run run = {.config = usual};

		run.config.epochs = 1;
		run.config.batch = MOST;
		run.config.positives = 3;
		run.config.negatives = ITEMS;
		CHECK(train(&run, members) == RS_OK);
		loss[members] = run.last_loss;
		release(&run);
		run = (Run){.config = usual};
		run.config.epochs = 1;
		run.config.batch = MOST;
		run.config.positives = ITEMS;
		run.config.negatives = ITEMS;
		CHECK(train(&run, members) == RS_OK);
		CHECK(fabs(run.last_loss - loss[members]) < 1e-5);
		CHECK(fabs(loss[members] - loss[1]) < 1e-5);
		release(&run);
	}
}

/*
 * With more columns than its rank, A B^T is the normalised matrix itself, but
 * for singular values below 0.06, which the iteration drops as noise.
 */
static void
test_spectral(void)
{
	Run run = {.config = usual, .spectral = true};
	double error = 0;
	double norm = 0;

	run.config.epochs = 0;
	run.config.dim = ITEMS;
	CHECK(train(&run, 2) == RS_OK);
	for (int u = 1; u < USERS; u++)
	{
		double du = (double) (user_ptr[u + 1] - user_ptr[u]);

		for (int i = 0; i < ITEMS; i++)
		{
			double di = (double) (item_ptr[i + 1] - item_ptr[i]);
			double want = 0;
			double got = 0;

			for (int64_t p = user_ptr[u]; p < user_ptr[u + 1]; p++)
				if (user_index[p] == i)
					want = 1 / sqrt(du * di);
			for (int c = 0; c < ITEMS; c++)
				got += run.users[u * ITEMS + c] * run.items[i * ITEMS + c];
			error += (got - want) * (got - want);
			norm += want * want;
		}
	}
	CHECK(error < 1e-2 * norm);
	release(&run);
}

/* more dimensions than the start has of the spectrum, and no limit */
static void
test_wide(void)
{
	Run a = {.config = usual, .spectral = true};
	Run b = {.config = usual, .spectral = true};

	a.config.dim = b.config.dim = 1100;
	a.config.epochs = b.config.epochs = 2;
	CHECK(train(&a, 2) == RS_OK);
	CHECK(train(&b, 2) == RS_OK);
	CHECK(memcmp(a.users, b.users, sizeof(float) * USERS * 1100) == 0);
	CHECK(memcmp(a.items, b.items, sizeof(float) * ITEMS * 1100) == 0);
	CHECK(isfinite(a.last_loss) && a.last_loss < a.first_loss);
	/* noise, and behind it what was learnt: nothing is left as it was */
	for (int c = 0; c < 1100; c++)
		if (!(fabsf(a.users[1100 + c]) > 0) || !isfinite(a.users[1100 + c]))
			CHECK(!"trained");
	release(&a);
	release(&b);
}

static void
test_bad_configs(void)
{
	Run run = {.config = usual};

	run.config.temperature = 0;
	CHECK(train(&run, 1) == RS_INVALID);
	release(&run);
	run = (Run){.config = usual};
	run.config.learning_rate = INFINITY;
	CHECK(train(&run, 2) == RS_DIVERGED);
	release(&run);
}

static int looks; /* at the interrupt: one at least in each batch */

static bool
count_look(void)
{
	looks++;
	return false;
}

/* a loss that is not finite ends the training in its batch, not in its epoch */
static void
test_divergence(void)
{
	Run run = {.config = usual};
	bool (*before)(void) = math_hooks.interrupt;
	int whole;

	math_hooks.interrupt = count_look;
	run.config.epochs = 1;
	run.config.batch = 1;
	CHECK(train(&run, 1) == RS_OK);
	release(&run);
	whole = looks;
	run = (Run){.config = usual};
	run.config.epochs = 1;
	run.config.batch = 1;
	run.config.learning_rate = INFINITY;
	looks = 0;
	CHECK(train(&run, 1) == RS_DIVERGED);
	CHECK(whole > 100 && looks < whole / 4);
	release(&run);
	math_hooks.interrupt = before;
}

/* a member's items are its own, however many pairs a batch of all has */
static void
test_memory(void)
{
	UserSoftmaxConfig c = usual;
	size_t one;
	size_t many;

	c.dim = 64;
	c.batch = c.negatives = 1024;
	c.positives = 8;
	one = user_softmax_arena_size(&c, 140000, 27000, 20000000, 1);
	many = user_softmax_arena_size(&c, 140000, 27000, 20000000, 16);
	printf("15 members more: %.0f MB\n", (double) (many - one) / 1e6);
	CHECK(many - one < 100000000);
}

int
main(void)
{
	make_data();
	test_gradient();
	test_training();
	test_against_reference();
	test_memory();
	test_merged();
	test_teacher();
	test_spectral();
	test_wide();
	test_bad_configs();
	test_divergence();
	return check_summary();
}

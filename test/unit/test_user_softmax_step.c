/*
 * test_user_softmax_step.c
 *		Training by the shared softmax, step by step against a plain one:
 *		the reference's gradients, Adam in double precision, the same batches
 *		and negatives. Every level of the processor, one worker to three.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/blas.h"
#include "math/rng.h"
#include "math/vec.h"
#include "model/user_softmax.h"

#define USERS 420 /* two products of users, with one worker */
#define ITEMS 29
#define DIM 10
#define TEACHER 3
#define MOST (USERS * ITEMS)

static int64_t ptr[USERS + 1];
static int32_t item[MOST];
static const DatasetSide data = {USERS, ITEMS, ptr, ptr + 1, item};
static float teacher_users[USERS * TEACHER];
static float teacher_items[ITEMS * TEACHER];

/* unit rows, of n values each */
static void
unit_rows(float *x, int rows, int n, uint64_t stream)
{
	Rng rng;

	rng_init(&rng, 12, stream);
	for (int r = 0; r < rows; r++, x += n)
	{
		double square = 0;

		for (int c = 0; c < n; c++)
		{
			x[c] = (float) rng_normal(&rng);
			square += (double) x[c] * x[c];
		}
		for (int c = 0; c < n; c++)
			x[c] /= (float) sqrt(square);
	}
}

/* user 0 has nothing, the others very different numbers of items */
static void
make_data(void)
{
	int64_t n = 0;
	Rng rng;

	rng_init(&rng, 11, 0);
	for (int u = 0; u < USERS; u++)
	{
		ptr[u] = n;
		for (int i = 0; i < ITEMS; i++)
			if (u > 0 && rng_uniform(&rng) < 0.1 + 0.8 * u / USERS)
				item[n++] = i;
	}
	ptr[USERS] = n;
	unit_rows(teacher_users, USERS, TEACHER, 1);
	unit_rows(teacher_items, ITEMS, TEACHER, 2);
}

/* ---- the trainer ---- */

typedef struct Run
{
	TeamShared shared;
	const UserSoftmaxConfig *config;
	int members;
	char *memory;
	size_t size;
	float users[USERS * DIM];
	float items[ITEMS * DIM];
	double loss; /* mean of a positive, of the last epoch */
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

	(void) epoch;
	(void) stop;
	if (team->rank == 0)
		run->loss = loss;
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
	m->status =
		user_softmax_train(&team, &data, run->config, &arena, run->users,
						   run->items, true, note_loss, run);
	return NULL;
}

/* first vectors of unequal length, the same for the trainer and the plain one */
static void
first_vectors(float *users, float *items)
{
	unit_rows(users, USERS, DIM, 3);
	unit_rows(items, ITEMS, DIM, 4);
	for (int k = 0; k < USERS * DIM; k++)
		users[k] *= 0.5f + 0.03f * (float) (k / DIM % 37);
	for (int k = 0; k < ITEMS * DIM; k++)
		items[k] *= 0.4f + 0.05f * (float) (k / DIM % 37);
}

static void
train(Run *run)
{
	pthread_t thread[3];
	Member member[3];

	run->size = user_softmax_arena_size(run->config, USERS, ITEMS, ptr[USERS],
										run->members);
	run->memory = aligned_alloc(64, (run->size + 127) / 64 * 64);
	/* not zero: the trainer must not rely on it */
	memset(run->memory, 0x5a, run->size);
	first_vectors(run->users, run->items);
	for (int r = 0; r < run->members; r++)
	{
		member[r] = (Member){run, r, RS_OK};
		pthread_create(&thread[r], NULL, member_main, &member[r]);
	}
	for (int r = 0; r < run->members; r++)
		pthread_join(thread[r], NULL);
	free(run->memory);
	CHECK(member[0].status == RS_OK);
}

/* ---- the plain one ---- */

typedef struct Visit
{
	int32_t user;
	int64_t from;
	int64_t n;
} Visit;

/* what an epoch consists of: as the trainer draws it (user_softmax.c) */
typedef struct Plan
{
	Visit visit[MOST];
	int n_visits;
	int32_t positive[MOST];
	int32_t order[ITEMS]; /* of the negatives */
} Plan;

static void
plan_epoch(Plan *p, const UserSoftmaxConfig *c, int epoch)
{
	uint64_t stream = ((uint64_t) epoch + 1) << 42;
	Rng rng;

	p->n_visits = 0;
	rng_init(&rng, c->seed, stream - 1);
	for (int32_t u = 0; u < USERS; u++)
		for (int64_t at = ptr[u]; at < ptr[u + 1]; at += c->positives)
		{
			int64_t left = ptr[u + 1] - at;
			int j = (int) rng_below(&rng, (uint64_t) p->n_visits + 1);

			p->visit[p->n_visits++] = p->visit[j];
			p->visit[j] =
				(Visit){u, at, left < c->positives ? left : c->positives};
		}
	for (int i = 0; i < ITEMS; i++)
	{
		int j = (int) rng_below(&rng, (uint64_t) i + 1);

		p->order[i] = p->order[j];
		p->order[j] = i;
	}
	for (int32_t u = 0; u < USERS; u++)
	{
		rng_init(&rng, c->seed, stream + (uint64_t) u);
		for (int64_t k = 0; k < ptr[u + 1] - ptr[u]; k++)
		{
			int64_t j = (int64_t) rng_below(&rng, (uint64_t) k + 1);

			p->positive[ptr[u] + k] = p->positive[ptr[u] + j];
			p->positive[ptr[u] + j] = item[ptr[u] + k];
		}
	}
}

typedef struct Plain
{
	double x[2][MOST]; /* users and items: rows of DIM */
	double m[2][MOST];
	double v[2][MOST];
	float grad[2][MOST];
	bool touched[2][USERS + ITEMS];
	int step;
} Plain;

/* gradient of weight * cos(u, i) */
static void
pull(Plain *p, int32_t u, int32_t i, double weight)
{
	const double *a = p->x[0] + u * DIM;
	const double *b = p->x[1] + i * DIM;
	double ab = 0;
	double aa = 0;
	double bb = 0;

	for (int c = 0; c < DIM; c++)
	{
		ab += a[c] * b[c];
		aa += a[c] * a[c];
		bb += b[c] * b[c];
	}
	for (int c = 0; c < DIM; c++)
	{
		double l = sqrt(aa * bb);

		p->grad[0][u * DIM + c] +=
			(float) (weight * (b[c] / l - ab / l * a[c] / aa));
		p->grad[1][i * DIM + c] +=
			(float) (weight * (a[c] / l - ab / l * b[c] / bb));
	}
}

/* a share of every positive goes to the teacher's softmax */
static void
teach(Plain *p, const UserSoftmaxConfig *c, const DatasetSide *batch,
	  const int32_t *negative, int n_neg)
{
	for (int32_t u = 0; u < USERS; u++)
	{
		double n = (double) (batch->end[u] - batch->ptr[u]);
		double q[ITEMS];
		double z = 0;

		for (int64_t k = batch->ptr[u]; k < batch->end[u]; k++)
			pull(p, u, batch->index[k], c->teacher_share / c->temperature);
		for (int j = 0; j < n_neg; j++)
		{
			double s = 0;

			for (int t = 0; t < TEACHER; t++)
				s += teacher_users[u * TEACHER + t] *
					 teacher_items[negative[j] * TEACHER + t];
			z += q[j] = exp(s / c->temperature);
		}
		for (int j = 0; j < n_neg && n > 0; j++)
			pull(p, u, negative[j],
				 -c->teacher_share / c->temperature * n * q[j] / z);
	}
}

/* Adam (Kingma, Ba 2015), of the rows that have a gradient */
static void
adam(Plain *p, int side, int rows, double rate)
{
	for (int k = 0; k < rows * DIM; k++)
	{
		double g = p->grad[side][k];
		double *m = &p->m[side][k];
		double *v = &p->v[side][k];

		if (!p->touched[side][k / DIM])
			continue;
		*m = 0.9 * *m + 0.1 * g;
		*v = 0.999 * *v + 0.001 * g * g;
		p->x[side][k] -= rate * (*m / (1 - pow(0.9, p->step))) /
						 (sqrt(*v / (1 - pow(0.999, p->step))) + 1e-10);
	}
}

/* the visits of a batch, of one user side by side; returns the loss */
static double
plain_step(Plain *p, const UserSoftmaxConfig *c, const Plan *plan, int first,
		   int n, const int32_t *negative, int n_neg, double rate)
{
	int64_t from[USERS + 1] = {0};
	int32_t index[MOST];
	DatasetSide batch = {USERS, ITEMS, from, from + 1, index};
	float x[2][MOST];
	double loss;

	memset(p->grad, 0, sizeof(p->grad));
	memset(p->touched, 0, sizeof(p->touched));
	for (int j = 0; j < n_neg; j++)
		p->touched[1][negative[j]] = true;
	for (int32_t u = 0; u < USERS; u++)
	{
		from[u + 1] = from[u];
		for (int k = first; k < first + n; k++)
			for (int64_t i = 0;
				 plan->visit[k].user == u && i < plan->visit[k].n; i++)
			{
				int32_t id = plan->positive[plan->visit[k].from + i];

				index[from[u + 1]++] = id;
				p->touched[0][u] = p->touched[1][id] = true;
			}
	}
	for (int k = 0; k < MOST; k++)
	{
		x[0][k] = (float) p->x[0][k];
		x[1][k] = (float) p->x[1][k];
	}
	loss = user_softmax_reference(&batch, DIM, c->temperature, x[0], x[1],
								  negative, n_neg, p->grad[0], p->grad[1]);
	if (c->teacher_share > 0)
		teach(p, c, &batch, negative, n_neg);
	p->step++;
	adam(p, 0, USERS, rate * c->user_rate);
	adam(p, 1, ITEMS, rate);
	return loss;
}

/* returns the mean loss of a positive in the last epoch */
static double
plain_train(Plain *p, const UserSoftmaxConfig *c)
{
	int n_neg = c->negatives < ITEMS ? c->negatives : ITEMS;
	static float users[USERS * DIM];
	static float items[ITEMS * DIM];
	static Plan plan;
	double loss = 0;

	memset(p, 0, sizeof(*p));
	first_vectors(users, items);
	for (int k = 0; k < USERS * DIM; k++)
		p->x[0][k] = users[k];
	for (int k = 0; k < ITEMS * DIM; k++)
		p->x[1][k] = items[k];
	for (int e = 0; e < c->epochs; e++)
	{
		int batches;

		plan_epoch(&plan, c, e);
		batches = (plan.n_visits + c->batch - 1) / c->batch;
		loss = 0;
		for (int b = 0; b < batches; b++)
		{
			int left = plan.n_visits - b * c->batch;
			double done = (e + (double) b / batches) / c->epochs;

			loss += plain_step(p, c, &plan, b * c->batch,
							   left < c->batch ? left : c->batch,
							   plan.order + b % (ITEMS / n_neg) * n_neg, n_neg,
							   c->learning_rate * (c->decay ? 1 - done : 1));
		}
	}
	return loss / (double) ptr[USERS];
}

/* ---- one against the other ---- */

/*
 * Adam's first steps are as long for a small gradient as for a large one, so
 * that rounding weighs most where a gradient is all but 0: the worst may be
 * off by a fiftieth of a step, the mean by much less.
 */
static void
compare(const float *got, const double *want, int n, double rate)
{
	double worst = 0;
	double sum = 0;

	for (int k = 0; k < n; k++)
	{
		double e = fabs(got[k] - want[k]) / rate;

		worst = e >= worst || isnan(e) ? e : worst;
		sum += e;
	}
	CHECK(worst < 0.02);
	CHECK(sum / n < 5e-4);
}

static void
test_config(const UserSoftmaxConfig *c)
{
	static Plain plain;
	double loss = plain_train(&plain, c);

	for (int members = 1; members <= 3; members++)
	{
		Run run = {.config = c, .members = members};

		train(&run);
		compare(run.users, plain.x[0], USERS * DIM, c->learning_rate);
		compare(run.items, plain.x[1], ITEMS * DIM, c->learning_rate);
		CHECK(fabs(run.loss - loss) < 1e-4 * (1 + fabs(loss)));
	}
}

static void
test_steps(void)
{
	const UserSoftmaxConfig base = {.dim = DIM,
									.batch = MOST,
									.positives = ITEMS,
									.negatives = ITEMS,
									.temperature = 0.3f,
									.learning_rate = 0.02f,
									.user_rate = 1,
									.seed = 5};

	/* one step and three, of all rows; then what changes a step */
	for (int kind = 0; kind < 6; kind++)
	{
		UserSoftmaxConfig c = base;

		c.epochs = kind == 0 ? 1 : 3;
		if (kind >= 2) /* three batches an epoch, not all rows in each */
		{
			c.batch = (USERS + 1) / 3;
			c.negatives = 8;
			c.user_rate = 0.5f;
		}
		if (kind >= 3)
			c.decay = true;
		if (kind >= 4) /* several visits a user */
			c.positives = 4;
		if (kind == 5)
		{
			c.teacher_share = 0.7f;
			c.teacher_dim = TEACHER;
			c.teacher_users = teacher_users;
			c.teacher_items = teacher_items;
		}
		test_config(&c);
	}
}

int
main(void)
{
	const VecOps *level[VEC_MAX_VARIANTS];
	int n = vec_variants(level);

	make_data();
	for (int k = 0; k < n; k++)
	{
		vec_ops = *level[k];
		test_steps();
	}
	/* and with the products that trainings use */
	if (blas_use_openblas() == NULL)
		test_steps();
	return check_summary();
}

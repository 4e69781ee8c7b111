/*
 * partition.c
 *		See partition.h.
 */
#include "math/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/codes.h"
#include "math/hooks.h"
#include "math/rng.h"
#include "math/vec.h"

#define BAND_RATIO 1.12 /* norms within a band differ by at most this */
#define BAND_DEPTH 2    /* bands of bands: at most 16 * 16 */
#define ITERATIONS 8    /* of k-means a node */
#define NODE_SAMPLE 128 /* sampled rows used a way of k-means */

typedef struct Trainer
{
	Partition *part;
	const PartitionPlan *plan;
	const float *x;   /* (n, dim) */
	const float *len; /* (n) norms */
	int32_t *index;   /* (n) rows, a node's contiguous */
	int32_t *spare;   /* (n) */
	uint8_t *way;     /* (n) by position in index */
	Rng rng;
} Trainer;

static int
add_nodes(Partition *part, int n)
{
	int at = part->nodes;

	if (at + n > part->room)
	{
		int room = part->room * 2 + n + 64;
		PartitionNode *node = math_alloc_array(room, sizeof(*node));

		if (node == NULL)
			return -1;
		if (part->node != NULL)
			memcpy(node, part->node, sizeof(*node) * at);
		math_release(part->node);
		part->node = node;
		part->room = room;
	}
	memset(part->node + at, 0, sizeof(PartitionNode) * n);
	part->nodes += n;
	return at;
}

typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));

/* a where it is larger or as large, else b; the places likewise */
static inline void
larger(Four *a, FourInts *at, Four b, FourInts bt)
{
	FourInts keep = *a >= b;

	*a = (Four) ((keep & (FourInts) *a) | (~keep & (FourInts) b));
	*at = (keep & *at) | (~keep & bt);
}

/* way of vector x in a k-means node: no branch, as they could not be foretold */
static int
nearest(const PartitionNode *node, const float *x, int dim)
{
	float dots[CODE_LANES];
	Four s[CODE_LANES / 4];
	FourInts at[CODE_LANES / 4];
	int best = 0;

	code_pack_dots(x, node->packed, 1, dim, dots);
	for (int i = 0; i < CODE_LANES / 4; i++)
	{
		Four least, none = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
		FourInts there;

		memcpy(s + i, dots + 4 * i, sizeof(Four));
		memcpy(&least, node->least + 4 * i, sizeof(Four));
		at[i] = (FourInts){4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3};
		there = at[i] < node->ways;
		s[i] = (Four) ((there & (FourInts) (s[i] - least)) |
					   (~there & (FourInts) none));
	}
	for (int half = CODE_LANES / 8; half > 0; half /= 2)
		for (int i = 0; i < half; i++)
			larger(s + i, at + i, s[i + half], at[i + half]);
	for (int i = 1; i < 4; i++)
		if (s[0][i] > s[0][best])
			best = i;
	return at[0][best];
}

static int
band_of(const PartitionNode *node, float len)
{
	int w = 0;

	while (w < node->ways - 1 && len < node->least[w])
		w++;
	return w;
}

static int
compare_falling(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/*
 * Cut the norms of rows (n) into ways of at most BAND_RATIO, none smaller
 * than a cell, at most 16: the ratio grows until they fit. 1 way: no use.
 */
static int
cut_bands(Trainer *t, const int32_t *rows, int n, int least_rows, float *least)
{
	float *len = math_alloc_array(n, sizeof(float));
	double ratio = BAND_RATIO;
	int ways;

	if (len == NULL)
		return -1;
	for (int i = 0; i < n; i++)
		len[i] = t->len[rows[i]];
	qsort(len, n, sizeof(float), compare_falling);
	for (;; ratio *= 1.05)
	{
		int from = 0;

		ways = 0;
		for (int i = least_rows; i < n && ways < PARTITION_WAYS; i++)
			if (i - from >= least_rows && n - i >= least_rows &&
				len[from] > len[i] * ratio)
			{
				least[ways++] = len[i - 1];
				from = i;
			}
		if (ways < PARTITION_WAYS)
			break;
	}
	least[ways++] = 0;
	math_release(len);
	return ways;
}

/* centres of `ways` ways over rows (n): Lloyd's iterations on a sample */
static RsStatus
train_centres(Trainer *t, const int32_t *rows, int n, int ways,
			  PartitionNode *node)
{
	int dim = t->part->dim;
	int used = n < NODE_SAMPLE * ways ? n : NODE_SAMPLE * ways;
	float *sum = math_alloc_array((size_t) ways * dim, sizeof(float));
	float *centre = math_alloc_array((size_t) ways * dim, sizeof(float));
	int count[PARTITION_WAYS];

	node->packed = math_alloc_array((size_t) CODE_LANES * dim, sizeof(float));
	if (sum == NULL || centre == NULL || node->packed == NULL)
		return RS_NO_MEMORY;
	node->ways = ways;
	for (int w = 0; w < ways; w++)
	{
		int i = (int) ((int64_t) n * w / ways +
					   rng_below(&t->rng, n / ways > 0 ? n / ways : 1));

		memcpy(centre + (size_t) w * dim, t->x + (size_t) rows[i] * dim,
			   sizeof(float) * dim);
	}
	for (int it = 0;; it++)
	{
		for (int w = 0; w < ways; w++)
		{
			const float *c = centre + (size_t) w * dim;

			node->least[w] = vec_dot(c, c, dim) / 2;
		}
		code_pack(centre, ways, dim, node->packed);
		if (it == ITERATIONS)
			break;
		if (math_interrupted())
			return RS_CANCELLED;
		memset(sum, 0, sizeof(float) * ways * dim);
		memset(count, 0, sizeof(count));
		for (int u = 0; u < used; u++)
		{
			const float *x = t->x + (size_t) rows[(int64_t) n * u / used] * dim;
			int w = nearest(node, x, dim);

			count[w]++;
			vec_axpy(1, x, sum + (size_t) w * dim, dim);
		}
		for (int w = 0; w < ways; w++)
			for (int j = 0; count[w] > 0 && j < dim; j++)
				centre[(size_t) w * dim + j] =
					sum[(size_t) w * dim + j] / count[w];
	}
	math_release(sum);
	math_release(centre);
	return RS_OK;
}

/* order index[from, to) by way; count (ways) */
static void
distribute(Trainer *t, int from, int to, int ways, int *count)
{
	int start[PARTITION_WAYS];

	memset(count, 0, sizeof(int) * PARTITION_WAYS);
	for (int i = from; i < to; i++)
		count[t->way[i]]++;
	start[0] = from;
	for (int w = 1; w < ways; w++)
		start[w] = start[w - 1] + count[w - 1];
	for (int i = from; i < to; i++)
		t->spare[start[t->way[i]]++] = t->index[i];
	memcpy(t->index + from, t->spare + from, sizeof(int32_t) * (to - from));
}

static RsStatus
make_cell(Trainer *t, int at)
{
	t->part->node[at].ways = 0;
	t->part->node[at].child = t->part->cells++;
	return RS_OK;
}

static RsStatus
grow(Trainer *t, int at, int from, int to, int depth)
{
	const PartitionPlan *plan = t->plan;
	int n = to - from, dim = t->part->dim;
	double cells = n * plan->per_row / plan->target;
	double most = (double) n / plan->min_sample;
	int count[PARTITION_WAYS], child, live = 0;
	PartitionNode node;
	RsStatus status;

	memset(&node, 0, sizeof(node));
	if (cells > most)
		cells = most;
	if (cells < 1.5 || depth > 24)
		return make_cell(t, at);
	if (plan->by_norm && depth < BAND_DEPTH)
	{
		node.by_norm = true;
		node.ways = cut_bands(
			t, t->index + from, n,
			(int) ceil(fmax(plan->min_sample, plan->target / plan->per_row)),
			node.least);
		if (node.ways < 0)
			return RS_NO_MEMORY;
		for (int i = from; node.ways > 1 && i < to; i++)
			t->way[i] = band_of(&node, t->len[t->index[i]]);
	}
	if (node.ways < 2)
	{
		int ways = cells > PARTITION_WAYS ? PARTITION_WAYS : (int) ceil(cells);

		/* whole levels: 40 cells are 7 ways of 6, not 16 of 2 or 3 */
		if (cells > PARTITION_WAYS && cells < 256)
			ways = (int) ceil(sqrt(cells));
		node.by_norm = false;
		status = train_centres(t, t->index + from, n, ways, &node);
		if (status != RS_OK)
			return status;
		for (int i = from; i < to; i++)
			t->way[i] = nearest(&node, t->x + (size_t) t->index[i] * dim, dim);
	}
	distribute(t, from, to, node.ways, count);
	for (int w = 0; w < node.ways; w++)
		live += count[w] > 0;
	if (live < 2) /* all the same */
	{
		math_release(node.packed);
		return make_cell(t, at);
	}
	child = add_nodes(t->part, node.ways);
	if (child < 0)
		return RS_NO_MEMORY;
	node.child = child;
	t->part->node[at] = node;
	for (int w = 0; w < node.ways; w++)
	{
		int below = depth + 1;

		if (node.by_norm == false && below < BAND_DEPTH)
			below = BAND_DEPTH;
		status = grow(t, child + w, from, from + count[w], below);
		if (status != RS_OK)
			return status;
		from += count[w];
	}
	return RS_OK;
}

RsStatus
partition_train(Partition *part, const float *x, int n, int dim,
				const PartitionPlan *plan)
{
	Trainer t = {.part = part, .plan = plan, .x = x};
	float *len = math_alloc_array(n > 0 ? n : 1, sizeof(float));
	RsStatus status = RS_NO_MEMORY;

	memset(part, 0, sizeof(*part));
	part->dim = dim;
	t.len = len;
	t.index = math_alloc_array(n > 0 ? n : 1, sizeof(int32_t));
	t.spare = math_alloc_array(n > 0 ? n : 1, sizeof(int32_t));
	t.way = math_alloc_array(n > 0 ? n : 1, 1);
	if (len != NULL && t.index != NULL && t.spare != NULL && t.way != NULL &&
		add_nodes(part, 1) == 0)
	{
		rng_init(&t.rng, plan->seed, 0);
		for (int i = 0; i < n; i++)
		{
			const float *v = x + (size_t) i * dim;

			len[i] = sqrtf(vec_dot(v, v, dim));
			t.index[i] = i;
		}
		status = grow(&t, 0, 0, n, 0);
	}
	math_release(len);
	math_release(t.index);
	math_release(t.spare);
	math_release(t.way);
	return status;
}

int
partition_assign(const Partition *part, const float *x)
{
	const PartitionNode *node = part->node;
	float len = -1;

	while (node->ways > 0)
	{
		int w;

		if (node->by_norm)
		{
			if (len < 0)
				len = sqrtf(vec_dot(x, x, part->dim));
			w = band_of(node, len);
		}
		else
			w = nearest(node, x, part->dim);
		node = part->node + node->child + w;
	}
	return node->child;
}

void
partition_free(Partition *part)
{
	for (int i = 0; i < part->nodes && !part->mapped; i++)
		math_release(part->node[i].packed);
	math_release(part->node);
	part->node = NULL;
}

/*
 * The saved form: the struct, the nodes, then the centres of those nodes
 * that have any, in the order of the nodes; each part of whole 64 bytes.
 */
static size_t
whole_lines(size_t bytes)
{
	return (bytes + 63) & ~(size_t) 63;
}

static size_t
centres_size(const Partition *part)
{
	return whole_lines(sizeof(float) * CODE_LANES * (size_t) part->dim);
}

size_t
partition_size(const Partition *part)
{
	size_t bytes = whole_lines(sizeof(*part)) +
				   whole_lines(sizeof(PartitionNode) * (size_t) part->nodes);

	for (int i = 0; i < part->nodes; i++)
		if (part->node[i].packed != NULL)
			bytes += centres_size(part);
	return bytes;
}

void
partition_save(const Partition *part, void *to)
{
	char *at = to;

	memcpy(at, part, sizeof(*part));
	at += whole_lines(sizeof(*part));
	memcpy(at, part->node, sizeof(PartitionNode) * (size_t) part->nodes);
	at += whole_lines(sizeof(PartitionNode) * (size_t) part->nodes);
	for (int i = 0; i < part->nodes; i++)
		if (part->node[i].packed != NULL)
		{
			memcpy(at, part->node[i].packed,
				   sizeof(float) * CODE_LANES * (size_t) part->dim);
			at += centres_size(part);
		}
}

RsStatus
partition_load(Partition *part, const void *from)
{
	const char *at = from;
	size_t nodes;

	memcpy(part, at, sizeof(*part));
	at += whole_lines(sizeof(*part));
	nodes = sizeof(PartitionNode) * (size_t) part->nodes;
	part->mapped = true;
	part->room = part->nodes;
	part->node = math_alloc_array(part->nodes, sizeof(PartitionNode));
	if (part->node == NULL)
		return RS_NO_MEMORY;
	memcpy(part->node, at, nodes);
	at += whole_lines(nodes);
	/* pointers of the process that saved only tell which nodes have centres */
	for (int i = 0; i < part->nodes; i++)
		if (part->node[i].packed != NULL)
		{
			part->node[i].packed = (float *) at;
			at += centres_size(part);
		}
	return RS_OK;
}

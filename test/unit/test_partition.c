/*
 * test_partition.c
 *		Division of vectors into cells: every row has a cell, cells are near
 *		their target, degenerate data ends.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/partition.h"
#include "math/rng.h"

/* what was saved and loaded assigns every row alike */
static void
check_saved(const Partition *part, const float *x, int n)
{
	size_t size = partition_size(part);
	char *room = aligned_alloc(64, size + 64);
	Partition copy;
	int differ = 0;

	memset(room + size, 77, 64);
	partition_save(part, room);
	for (int i = 0; i < 64; i++)
		CHECK(room[size + i] == 77);
	CHECK(partition_load(&copy, room) == RS_OK);
	for (int i = 0; i < n; i++)
	{
		const float *v = x + (size_t) i * part->dim;

		differ += partition_assign(part, v) != partition_assign(&copy, v);
	}
	CHECK(differ == 0);
	partition_free(&copy);
	free(room);
}

static void
check_data(const float *x, int n, int dim, bool by_norm, int target, int most)
{
	PartitionPlan plan = {by_norm, 1, target, 8, 3};
	Partition part;
	static int count[20001];
	int largest = 0, total = 0;

	CHECK(partition_train(&part, x, n, dim, &plan) == RS_OK);
	CHECK(part.cells >= 1);
	CHECK(part.cells <= 20000);
	memset(count, 0, sizeof(count));
	for (int i = 0; i < n; i++)
	{
		int c = partition_assign(&part, x + (size_t) i * dim);

		CHECK(c >= 0 && c < part.cells);
		count[c]++;
	}
	for (int c = 0; c < part.cells; c++)
	{
		total += count[c];
		if (count[c] > largest)
			largest = count[c];
	}
	CHECK(total == n);
	CHECK(most == 0 || largest <= most);
	check_saved(&part, x, n);
	partition_free(&part);
}

int
main(void)
{
	int n = 20000, dim = 12;
	float *x = malloc(sizeof(float) * n * dim);
	Rng rng;

	rng_init(&rng, 1, 1);
	for (int i = 0; i < n * dim; i++)
		x[i] = (float) rng_normal(&rng);
	for (int by_norm = 0; by_norm < 2; by_norm++)
	{
		check_data(x, n, dim, by_norm, 200, 400);
		check_data(x, n, dim, by_norm, 30, 60);
		check_data(x, 1, dim, by_norm, 200, 1);
		check_data(x, 0, dim, by_norm, 200, 0);
		check_data(x, 17, dim, by_norm, 200, 17);
	}
	/* norms over many orders of magnitude, in one direction */
	for (int i = 0; i < n; i++)
		for (int j = 0; j < dim; j++)
			x[i * dim + j] = (float) ((j + 1) * exp(rng_normal(&rng) * 4));
	check_data(x, n, dim, true, 200, 0);
	check_data(x, n, dim, false, 200, 0);
	/* all equal; half zero; huge */
	for (int i = 0; i < n * dim; i++)
		x[i] = 2.5f;
	check_data(x, n, dim, true, 200, 0);
	check_data(x, n, dim, false, 200, 0);
	memset(x, 0, sizeof(float) * n * dim / 2);
	check_data(x, n, dim, true, 200, 0);
	for (int i = 0; i < n * dim; i++)
		x[i] = (float) (1e15 * rng_normal(&rng));
	check_data(x, n, dim, true, 200, 0);
	free(x);
	return check_summary();
}

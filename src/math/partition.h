/*
 * partition.h
 *		Division of vectors into cells: by norm first where norms say
 *		something, then by k-means, as a tree of at most 16 ways a node.
 *
 * A cell (leaf of the tree) holds about `target` of the rows that the sample
 * stands for. The tree only serves to assign rows at build; afterwards the
 * centroids of its leaves are all that counts.
 */
#ifndef RECSYS_PARTITION_H
#define RECSYS_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/status.h"

#define PARTITION_WAYS 16

typedef struct PartitionNode
{
	int32_t ways;  /* 0: a cell */
	int32_t child; /* first child's index; the cell's number in a cell */
	bool by_norm;
	float least[PARTITION_WAYS]; /* by_norm: least norm of each way, falling;
								  * else half the squared norm of the centre */
	float *packed; /* (1, dim, 16) centres; NULL when by_norm or a cell */
} PartitionNode;

typedef struct Partition
{
	int dim;
	int nodes;
	int room;
	int cells;
	bool mapped;         /* packed centres belong to somebody else */
	PartitionNode *node; /* 0 is the root */
} Partition;

typedef struct PartitionPlan
{
	bool by_norm;   /* inner product: bands of norm first */
	double per_row; /* rows that one sampled row stands for */
	int target;     /* rows of a cell */
	int min_sample; /* fewest sampled rows that make a cell */
	uint64_t seed;
} PartitionPlan;

/* x (n, dim); memory comes from math_alloc */
extern RsStatus partition_train(Partition *part, const float *x, int n, int dim,
								const PartitionPlan *plan);
/* the cell of x (dim) */
extern int partition_assign(const Partition *part, const float *x);
extern void partition_free(Partition *part);

/* a partition as one piece of memory that another process can map */
extern size_t partition_size(const Partition *part);
extern void partition_save(const Partition *part, void *to);
/* from: as saved, stays in use (centres lie in it), multiple of 64 */
extern RsStatus partition_load(Partition *part, const void *from);

#endif

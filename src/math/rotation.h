/*
 * rotation.h
 *		An orthogonal map that puts the energy of vectors into the first
 *		coordinates, so that those alone tell most of an inner product.
 *
 * Up to ROTATION_DENSE dimensions it is a matrix, the eigenvectors of the
 * vectors' second moment. Beyond, only the space of the first `head`
 * eigenvectors matters: it is found by subspace iteration (Halko, Martinsson,
 * Tropp 2011) and turned onto the first coordinates by `head` reflections
 * (Householder 1958), which cost 2 head dim in place of dim^2. Reflections are
 * applied in double precision, so that the map is orthogonal to the float32
 * rounding of its result.
 *
 * The coordinates after the first `head` are mixed by Hadamard's transform with random
 * signs, which makes them alike in size, so that one size and their signs tell most.
 */
#ifndef RECSYS_ROTATION_H
#define RECSYS_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/status.h"

#define ROTATION_DENSE 256

/* vectors x[i] - centre[owner[i]] */
typedef struct RotationRows
{
	const float *x;       /* (n, dim) */
	const float *centre;  /* (centres, dim) */
	const int32_t *owner; /* (n) */
	int n;
	int dim;
} RotationRows;

/* bytes of a rotation as it is stored, a multiple of 64 */
extern size_t rotation_size(int dim, int head);
/* bytes that rotation_find allocates for a while */
extern size_t rotation_scratch(int dim, int head);
/*
 * *found false: too few vectors, or no numbers. Uses some thousands of the
 * vectors, evenly chosen.
 */
extern RsStatus rotation_find(const RotationRows *rows, int head,
							  float *rotation, bool *found);
/* out (dim rounded up to 16) = x (dim), turned; they do not overlap */
extern void rotation_apply(const float *rotation, int dim, int head,
						   const float *x, float *out);
/* the same without rounding to float32 on the way: out (dim) */
extern void rotation_apply_double(const float *rotation, int dim, int head,
								  const float *x, double *out);

#endif

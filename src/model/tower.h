/*
 * tower.h
 *		The hidden layers of a tower: from the sum of embeddings to a vector.
 *
 *	x (dim)	the sum of the id's and the features' embeddings
 *	y (dim)	= x + W_n relu(... relu(x W_0 + b_0) ...) + b_n
 *
 * The layers add to x instead of replacing it (He et al. 2016), and the last
 * one starts at zero: training begins with the model that has no layers.
 * All kernels and biases lie in one flat array: kernel 0 (dim, h_1) | bias 0
 * (h_1) | kernel 1 (h_1, h_2) | ... | kernel n (h_n, dim) | bias n (dim).
 */
#ifndef RECSYS_TOWER_H
#define RECSYS_TOWER_H

#include <stddef.h>
#include <stdint.h>

#include "model/job.h"
#include "model/predict.h"

#define TOWER_MAX_LAYERS (JOB_MAX_HIDDEN + 1)

typedef struct Tower
{
	int n_layers;
	int width[TOWER_MAX_LAYERS + 1]; /* both ends are dim */
	size_t kernel[TOWER_MAX_LAYERS]; /* offsets into the flat array */
	size_t bias[TOWER_MAX_LAYERS];
	size_t n_params;
	size_t n_acts; /* floats of activations a row */
} Tower;

extern void tower_init(Tower *t, int dim, const int *hidden, int n_hidden);
/* Glorot uniform kernels but the last, which is zero, as are the biases */
extern void tower_init_params(const Tower *t, uint64_t seed, float *params);
/* x (n, dim) to y (n, dim); acts (n, 2 n_acts) is kept for tower_backward */
extern void tower_forward(const Tower *t, const float *params, int n,
						  const float *x, float *acts, float *y);
/*
 * dy (n, dim): gradient by y. grad (n_params) is written; dx (n, dim) is the
 * gradient by x.
 */
extern void tower_backward(const Tower *t, const float *params, int n,
						   const float *x, float *acts, const float *dy,
						   float *grad, float *dx);

/*
 * The vector of unit length of one side ("user" or "item") from the input x
 * (dim), in place, by the parameters side_kernel_0, side_bias_0 and so on of
 * a model; scratch: tower_scratch floats. A model without such parameters
 * leaves x as it is; RS_INVALID when they do not fit together.
 */
extern size_t tower_scratch(const PredictParam *params, int n, int dim);
extern RsStatus tower_apply(const PredictParam *params, int n, const char *side,
							int dim, float *x, float *scratch);

#endif

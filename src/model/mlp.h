/*
 * mlp.h
 *		Layers of the rating network: forward and backward over a tile of rows.
 *
 * The network is relu layers over the concatenation of a user's and an
 * item's vector, the last layer without relu and with one output. All
 * kernels and biases lie in one flat array:
 *
 *	kernel 0 (in, h1) | bias 0 (h1) | kernel 1 (h1, h2) | bias 1 | ...
 *
 * Between the vectors and the first layer there may be cross layers (DCN-v2,
 * Wang et al. 2021) as in TensorFlow Recommenders, which multiply features
 * with each other:
 *
 *	x[l+1] = x[0] * (x[l] C[l] + c[l]) + x[l]	(* element by element)
 *
 * Their kernels C (in, in) and biases c (in) follow in the flat array.
 *
 * Without cross layers the first product is not done for each row: a batch has fewer distinct
 * users and items than rows, so rank_mlp.c multiplies those once and mlp_tile
 * starts from the sums z0 = user part + item part (+ bias). mlp_tile gives
 * back the gradient by z0, from which the gradients of kernel 0 and of the
 * vectors follow by sums over rows. With cross layers mlp_cross_tile starts
 * from the concatenated vectors. Everything works on B rows at once through
 * blas.h.
 */
#ifndef RECSYS_MLP_H
#define RECSYS_MLP_H

#include <stdbool.h>
#include <stddef.h>

#include "model/job.h"

#define MLP_MAX_LAYERS (JOB_MAX_HIDDEN + 1)

typedef struct Mlp
{
	int n_layers;
	int width[MLP_MAX_LAYERS + 1]; /* width[0] in, width[n_layers] = 1 */
	size_t kernel[MLP_MAX_LAYERS]; /* offsets into the flat array */
	size_t bias[MLP_MAX_LAYERS];
	size_t n_params;
	size_t tail; /* gradients of a tile are of the parameters from here on:
				  * where bias 0 begins, or all with cross layers */
	int n_cross;
	size_t cross_kernel[JOB_MAX_CROSS];
	size_t cross_bias[JOB_MAX_CROSS];
	bool binary; /* logistic loss on 0/1 targets instead of squared error */
} Mlp;

extern void mlp_init(Mlp *mlp, int in, const int *hidden, int n_hidden,
					 int n_cross, bool binary);
/*
 * Glorot uniform kernels, of cross layers normal ones of deviation 0.05 cut
 * off at two deviations; zero biases
 */
extern void mlp_init_params(const Mlp *mlp, uint64_t seed, float *params);

/* floats of scratch for mlp_tile and mlp_forward over n rows */
extern size_t mlp_scratch(const Mlp *mlp, int n);

/*
 * z0 (n, width[1]): in, the first layer's sums without bias; out, the
 * gradient by them. y (n): targets. grad: n_params - tail floats, written.
 * The gradient is that of scale * sum of losses; returns the sum of losses.
 */
extern double mlp_tile(const Mlp *mlp, const float *params, int n, float *z0,
					   const float *y, float scale, float *grad,
					   float *scratch);

/*
 * The same from x (n, width[0]), the concatenated vectors: out, the gradient
 * by them. grad: n_params floats, written.
 */
extern double mlp_cross_tile(const Mlp *mlp, const float *params, int n,
							 float *x, const float *y, float scale, float *grad,
							 float *scratch);

/*
 * Forward of the cross layers. x (n_cross + 1, n, in): x[0] is the input, the
 * others are written; product (n_cross, n, in) = x[l] C[l] + c[l].
 */
extern void mlp_cross_forward(const Mlp *mlp, const float *params, int n,
							  float *x, float *product);

/* out (n) = raw outputs for x (n, width[0]) */
extern void mlp_forward(const Mlp *mlp, const float *params, int n,
						const float *x, float *out, float *scratch);

#endif

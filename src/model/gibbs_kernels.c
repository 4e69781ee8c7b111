/*
 * gibbs_kernels.c
 *		Compiles gibbs_body.h for each level of processor, and picks one.
 */
#include "model/gibbs_kernels.h"

#include <math.h>
#include <string.h>

#include "math/dense.h"
#include "model/gibbs.h"

#define VL 4
#define FN(name) name##_plain
#include "model/gibbs_body.h"
#undef VL
#undef FN

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define VL 8
#define FN(name) name##_avx2
#include "model/gibbs_body.h"
#undef VL
#undef FN
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target(                                                            \
	"avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#define VL 16
#define FN(name) name##_avx512
#include "model/gibbs_body.h"
#undef VL
#undef FN
#pragma GCC pop_options
#endif

GibbsOps gibbs_ops;

int
gibbs_kernels_init(int level)
{
	level = dense_level(level);
	gibbs_ops = ops_plain;
#if defined(__x86_64__)
	if (level == 1)
		gibbs_ops = ops_avx2;
	if (level == 2)
		gibbs_ops = ops_avx512;
#endif
	return level;
}

__attribute__((constructor)) static void
choose_kernels(void)
{
	gibbs_kernels_init(-1);
}

/*
 * dense.c
 *		Compiles dense_body.h for each level of processor, and picks one.
 */
#include "math/dense.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "math/vec.h"

#define VL 4
#define MR 4
#define FN(name) name##_plain
#define FN_NAME "plain"
#include "math/dense_body.h"
#undef VL
#undef MR
#undef FN
#undef FN_NAME

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define VL 8
#define MR 8
#define FN(name) name##_avx2
#define FN_NAME "AVX2"
#include "math/dense_body.h"
#undef VL
#undef MR
#undef FN
#undef FN_NAME
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target(                                                            \
	"avx512f,avx512dq,avx512vl,avx512bw,avx2,fma,prefer-vector-width=512")
#define VL 16
#define MR 16
#define FN(name) name##_avx512
#define FN_NAME "AVX-512"
#include "math/dense_body.h"
#undef VL
#undef MR
#undef FN
#undef FN_NAME

/* wide registers are half empty in small systems (Zen 5: 30 rows .69, .60 us) */
static bool
solve_any(float *a, int n, int lda, float *b)
{
	return n < 64 ? solve_avx2(a, n, lda, b) : solve_avx512(a, n, lda, b);
}
#pragma GCC pop_options
#endif

DenseOps dense = {"plain",     softmax_plain,      rank_plain,
				  scale_plain, pack_columns_plain, pack_rows_plain,
				  gram_plain,  solve_plain,        adagrad_plain,
				  adam_plain};

int
dense_level(int level)
{
	int best = 0;

#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		best = 1;
	if (best == 1 && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512bw"))
		best = 2;
#endif
	return level < 0 || level > best ? best : level;
}

int
dense_init(int level)
{
	level = dense_level(level);
	dense = ops_plain;
#if defined(__x86_64__)
	if (level == 1)
		dense = ops_avx2;
	if (level == 2)
	{
		dense = ops_avx512;
		dense.solve = solve_any;
	}
#endif
	return level;
}

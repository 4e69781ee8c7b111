/*
 * vec.c
 *		Choice of the kernels that this processor runs fastest.
 */
#include "math/vec.h"

#include <stdbool.h>

/* Defined before any constructor runs, so that no call can come too early. */
VecOps vec_ops = {.name = "none"};

int
vec_variants(const VecOps *list[VEC_MAX_VARIANTS])
{
	int n = 0;

	list[n++] = &vec_ops_scalar;
	list[n++] = &vec_ops_128;
#ifdef __x86_64__
	/* these tests include that the operating system saves the registers */
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		list[n++] = &vec_ops_avx2;
	if (n == 3 && __builtin_cpu_supports("avx512f"))
		list[n++] = &vec_ops_avx512;
#endif
	return n;
}

/*
 * The widest registers, but for single sums: called one at a time between
 * other code, those are 3 to 4 ns faster with AVX2 at 64 dimensions (Zen 4:
 * 51 instead of 54 ns for a whole call of an SQL operator), and long ones
 * wait for memory either way.
 */
__attribute__((constructor)) static void
choose_ops(void)
{
	const VecOps *list[VEC_MAX_VARIANTS];

	vec_ops = *list[vec_variants(list) - 1];
#ifdef __x86_64__
	if (vec_ops.dot == vec_ops_avx512.dot)
	{
		vec_ops.dot = vec_ops_avx2.dot;
		vec_ops.l2_squared = vec_ops_avx2.l2_squared;
		vec_ops.l1 = vec_ops_avx2.l1;
		vec_ops.cosine_sums = vec_ops_avx2.cosine_sums;
		vec_ops.dot_double = vec_ops_avx2.dot_double;
		vec_ops.squares_double = vec_ops_avx2.squares_double;
	}
#endif
}

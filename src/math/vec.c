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
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
		list[n++] = &vec_ops_avx512;
#endif
	return n;
}

__attribute__((constructor)) static void
choose_ops(void)
{
	const VecOps *list[VEC_MAX_VARIANTS];

	vec_ops = *list[vec_variants(list) - 1];
}

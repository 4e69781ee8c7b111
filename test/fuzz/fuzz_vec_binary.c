/*
 * fuzz_vec_binary.c
 *		Any bytes into the binary parser of vectors: what it accepts is
 *		exactly what the bytes say, and it never reads behind them.
 *
 *		Links: src/math/vec_text.c
 */
#include <math.h>

#include "fuzz.h"
#include "math/vec_text.h"

#define MAX 16000

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static float x[MAX];
	VecParseError error;
	VecParse status;
	int dim, finite = 1;

	status = vec_parse_binary_head(data, size, MAX, &dim, &error);
	if (size < 4)
	{
		FUZZ_CHECK(status == VEC_PARSE_SHORT);
		return 0;
	}
	FUZZ_CHECK(dim == (int16_t) (data[0] << 8 | data[1]));
	if (status != VEC_PARSE_OK)
	{
		FUZZ_CHECK(dim < 1 || dim > MAX || data[2] != 0 || data[3] != 0 ||
				   size < 4 + 4 * (size_t) dim);
		return 0;
	}
	FUZZ_CHECK(dim >= 1 && dim <= MAX && size >= 4 + 4 * (size_t) dim);
	status = vec_parse_binary_body(data + 4, dim, x);
	for (int i = 0; i < dim; i++)
	{
		const uint8_t *p = data + 4 + 4 * i;
		uint32_t bits;

		memcpy(&bits, &x[i], sizeof(bits));
		FUZZ_CHECK(p[0] == bits >> 24 && p[1] == (bits >> 16 & 255) &&
				   p[2] == (bits >> 8 & 255) && p[3] == (bits & 255));
		finite &= isfinite(x[i]) != 0;
	}
	FUZZ_CHECK((status == VEC_PARSE_OK) == (finite == 1));
	return 0;
}

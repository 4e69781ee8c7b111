/*
 * fuzz_vec_text.c
 *		Any text into the text parser of vectors, beside a parser of a few
 *		lines that reads every number by strtof: both must say the same.
 *
 *		Links: src/math/vec_text.c
 */
#include <errno.h>
#include <math.h>

#include "fuzz.h"
#include "math/vec_text.h"

#define MAX 64 /* elements: few, so that "too many" is met */

static const char *
skip(const char *p)
{
	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
		p++;
	return p;
}

/* number of elements, or minus the expected verdict */
static int
reference(const char *p, float *x)
{
	int n = 0;

	p = skip(p);
	if (*p++ != '[')
		return -VEC_PARSE_START;
	if (*skip(p) == ']')
		return -VEC_PARSE_EMPTY;
	for (;;)
	{
		char *end;

		if (n == MAX)
			return -VEC_PARSE_TOO_MANY;
		errno = 0;
		x[n] = strtof(p, &end);
		if (end == p)
			return -VEC_PARSE_SYNTAX;
		if (errno == ERANGE && isinf(x[n]))
			return -VEC_PARSE_RANGE;
		if (isnan(x[n]))
			return -VEC_PARSE_NAN;
		if (isinf(x[n]))
			return -VEC_PARSE_INFINITE;
		n++;
		p = skip(end);
		if (*p == ']')
			return *skip(p + 1) == '\0' ? n : -VEC_PARSE_JUNK;
		if (*p++ != ',')
			return -VEC_PARSE_SYNTAX;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);
	float x[MAX + 1], y[MAX + 1];
	VecParseError error;
	VecParse status;
	int dim, expect;

	memcpy(s, data, size);
	s[size] = '\0';
	x[MAX] = 12345;
	status = vec_parse_text(s, x, MAX, &dim, &error);
	FUZZ_CHECK(x[MAX] == 12345);
	FUZZ_CHECK(dim >= 0 && dim <= MAX);
	expect = reference(s, y);
	if (status == VEC_PARSE_OK)
	{
		FUZZ_CHECK(dim == expect);
		FUZZ_CHECK(memcmp(x, y, sizeof(float) * (size_t) dim) == 0);
		FUZZ_CHECK(vec_check_finite(x, dim) == VEC_PARSE_OK);
	}
	else
		FUZZ_CHECK((int) status == -expect);
	if (status == VEC_PARSE_RANGE)
		FUZZ_CHECK(error.at >= s && error.len > 0 &&
				   error.at + error.len <= s + size);
	free(s);
	return 0;
}

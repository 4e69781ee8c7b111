/*
 * vec_text.c
 *		Reading vectors from text and from the wire, without a server.
 *
 * Numbers are read by a short decimal path that is exact or declines, and
 * by strtof when it declines (hexadecimal, NaN, very small or large numbers,
 * numbers very near the middle between two floats). Both give the float
 * nearest to the decimal.
 */
#include "math/vec_text.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_POWER 60  /* of ten, in either direction, on the short path */
#define MAX_DIGITS 19 /* decimal digits that fit 64 bits */

static const double power_of_ten[MAX_POWER + 1] = {
	1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10,
	1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
	1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32,
	1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43,
	1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54,
	1e55, 1e56, 1e57, 1e58, 1e59, 1e60};

/* independent of the locale, and the same characters as strtof skips */
static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline const char *
skip_space(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A decimal number: value * 10^power, up to one unit in the 19th digit. */
typedef struct Decimal
{
	uint64_t value;
	int digits; /* significant digits in value */
	long power;
} Decimal;

static inline void
decimal_digit(Decimal *d, char c, bool fraction)
{
	if (d->digits < MAX_DIGITS)
	{
		d->value = d->value * 10 + (uint64_t) (c - '0');
		d->digits += d->value != 0;
		d->power -= fraction;
	}
	else
		d->power += !fraction;
}

/* The exponent after e or E; p is left where it is when there is none. */
static const char *
read_exponent(const char *p, long *power)
{
	const char *q = p + 1;
	bool negative = *q == '-';
	long e = 0;

	if (*q == '-' || *q == '+')
		q++;
	if (!is_digit(*q))
		return p;
	for (; is_digit(*q); q++)
		if (e < 100000)
			e = e * 10 + (*q - '0');
	*power += negative ? -e : e;
	return q;
}

/*
 * d is within 4 units in the last place of the true value. The float nearest
 * to it is the float nearest to the true value unless a middle between two
 * floats lies in that interval.
 */
static inline bool
float_of_double(double d, float *x)
{
	const int64_t middle = INT64_C(1) << 28;
	uint64_t bits;
	int64_t rest;

	if (!(d >= 2 * (double) FLT_MIN && d < (double) FLT_MAX))
		return false;
	memcpy(&bits, &d, sizeof(bits));
	rest = (int64_t) (bits & ((UINT64_C(1) << 29) - 1));
	if (rest >= middle - 16 && rest <= middle + 16)
		return false;
	*x = (float) d;
	return true;
}

/* The short path. NULL: it declines, and nothing is said about the input. */
static const char *
read_decimal(const char *p, float *x)
{
	Decimal n = {0, 0, 0};
	bool negative = *p == '-';
	const char *first;
	double d;

	if (*p == '-' || *p == '+')
		p++;
	first = p;
	for (; is_digit(*p); p++)
		decimal_digit(&n, *p, false);
	if (*p == '.')
	{
		const char *point = p++;

		for (; is_digit(*p); p++)
			decimal_digit(&n, *p, true);
		if (p == first + 1 && point == first)
			return NULL;
	}
	if (p == first || *p == 'x' || *p == 'X')
		return NULL;
	if (*p == 'e' || *p == 'E')
		p = read_exponent(p, &n.power);

	if (n.value == 0)
	{
		*x = negative ? -0.0f : 0.0f;
		return p;
	}
	if (n.power < -MAX_POWER || n.power > MAX_POWER)
		return NULL;
	d = (double) n.value;
	d = n.power < 0 ? d / power_of_ten[-n.power] : d * power_of_ten[n.power];
	if (!float_of_double(d, x))
		return NULL;
	if (negative)
		*x = -*x;
	return p;
}

/* One element at p. *end is behind it. */
static VecParse
read_number(const char *p, float *x, const char **end, VecParseError *error)
{
	char *stop;

	*end = read_decimal(p, x);
	if (*end != NULL)
		return VEC_PARSE_OK;

	errno = 0;
	*x = strtof(p, &stop);
	*end = stop;
	if (stop == p)
		return VEC_PARSE_SYNTAX;
	error->at = p;
	error->len = (int) (stop - p < 1000 ? stop - p : 1000);
	if (errno == ERANGE && isinf(*x))
		return VEC_PARSE_RANGE;
	if (isnan(*x))
		return VEC_PARSE_NAN;
	if (isinf(*x))
		return VEC_PARSE_INFINITE;
	return VEC_PARSE_OK;
}

/* The elements and the closing bracket; p is behind the opening one. */
static VecParse
read_elements(const char *p, float *x, int max, int *dim, const char **end,
			  VecParseError *error)
{
	int n = 0;

	for (;;)
	{
		VecParse status;

		p = skip_space(p);
		if (n == max)
			return VEC_PARSE_TOO_MANY;
		if (*p == '\0')
			return VEC_PARSE_SYNTAX;
		status = read_number(p, &x[n], &p, error);
		if (status != VEC_PARSE_OK)
			return status;
		*dim = ++n;
		p = skip_space(p);
		*end = p;
		if (*p == ']')
			return VEC_PARSE_OK;
		if (*p != ',')
			return VEC_PARSE_SYNTAX;
		p++;
	}
}

VecParse
vec_parse_text(const char *s, float *x, int max, int *dim, VecParseError *error)
{
	const char *p = skip_space(s);
	VecParse status;

	*dim = 0;
	error->at = p;
	error->len = 0;
	if (*p != '[')
		return VEC_PARSE_START;
	p = skip_space(p + 1);
	if (*p == ']')
		return VEC_PARSE_EMPTY;
	status = read_elements(p, x, max, dim, &p, error);
	if (status != VEC_PARSE_OK)
		return status;
	p = skip_space(p + 1);
	return *p == '\0' ? VEC_PARSE_OK : VEC_PARSE_JUNK;
}

static inline uint32_t
network_uint32(const uint8_t *buf)
{
	return (uint32_t) buf[0] << 24 | (uint32_t) buf[1] << 16 |
		   (uint32_t) buf[2] << 8 | buf[3];
}

VecParse
vec_parse_binary_head(const uint8_t *buf, size_t len, int max, int *dim,
					  VecParseError *error)
{
	uint32_t head;

	*dim = 0;
	if (len < sizeof(head))
		return VEC_PARSE_SHORT;
	head = network_uint32(buf);
	*dim = (int16_t) (head >> 16);
	error->unused = (int16_t) (head & 0xFFFF);
	if (*dim < 1)
		return VEC_PARSE_DIM;
	if (*dim > max)
		return VEC_PARSE_TOO_MANY;
	if (error->unused != 0)
		return VEC_PARSE_UNUSED;
	if ((len - sizeof(head)) / sizeof(float) < (size_t) *dim)
		return VEC_PARSE_SHORT;
	return VEC_PARSE_OK;
}

VecParse
vec_parse_binary_body(const uint8_t *buf, int dim, float *x)
{
	for (int i = 0; i < dim; i++)
	{
		uint32_t bits = network_uint32(buf + 4 * (size_t) i);

		memcpy(&x[i], &bits, sizeof(bits));
	}
	return vec_check_finite(x, dim);
}

VecParse
vec_check_finite(const float *x, int n)
{
	uint32_t bad = 0;

	/* exponent bits all set: adding one carries into the sign bit */
	for (int i = 0; i < n; i++)
	{
		uint32_t bits;

		memcpy(&bits, &x[i], sizeof(bits));
		bad |= (bits & UINT32_C(0x7F800000)) + UINT32_C(0x00800000);
	}
	if ((bad & UINT32_C(0x80000000)) == 0)
		return VEC_PARSE_OK;
	for (int i = 0; i < n; i++)
		if (isnan(x[i]))
			return VEC_PARSE_NAN;
	return VEC_PARSE_INFINITE;
}

/*
 * vec_text.h
 *		Reading vectors from text and from the wire, without a server.
 *
 * The parsers take untrusted bytes, allocate nothing and write at most max
 * floats, so that they can be fuzzed alone. src/type turns a VecParse into
 * an error with its SQLSTATE.
 */
#ifndef RECSYS_VEC_TEXT_H
#define RECSYS_VEC_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef enum VecParse
{
	VEC_PARSE_OK = 0,
	VEC_PARSE_START,    /* does not start with "[" */
	VEC_PARSE_SYNTAX,   /* bad or missing number, comma or bracket */
	VEC_PARSE_JUNK,     /* something follows the closing bracket */
	VEC_PARSE_EMPTY,    /* no element */
	VEC_PARSE_TOO_MANY, /* more than max elements */
	VEC_PARSE_RANGE,    /* a number beyond float32 */
	VEC_PARSE_NAN,      /* NaN */
	VEC_PARSE_INFINITE, /* Infinity */
	VEC_PARSE_SHORT,    /* binary: the message ends before the vector */
	VEC_PARSE_DIM,      /* binary: dim < 1 */
	VEC_PARSE_UNUSED    /* binary: the unused field is not 0 */
} VecParse;

/*
 * The place of an error: the number at fault for RANGE, else where reading
 * stopped. unused: the value of that field for UNUSED.
 */
typedef struct VecParseError
{
	const char *at;
	int len;
	int unused;
} VecParseError;

/* "[1,2,3]"; s ends with NUL. x (max), *dim is what was read */
extern VecParse vec_parse_text(const char *s, float *x, int max, int *dim,
							   VecParseError *error);

/*
 * The head of the binary form, int16 dim and int16 unused in network order:
 * checks that dim is 1 .. max and that the message of len bytes holds it all.
 */
extern VecParse vec_parse_binary_head(const uint8_t *buf, size_t len, int max,
									  int *dim, VecParseError *error);
/* the dim floats after the head, which was found good */
extern VecParse vec_parse_binary_body(const uint8_t *buf, int dim, float *x);

/* VEC_PARSE_OK when every element is finite, else NAN or INFINITE */
extern VecParse vec_check_finite(const float *x, int n);

#endif

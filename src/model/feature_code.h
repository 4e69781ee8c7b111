/*
 * feature_code.h
 *		From a value of a feature to encoded columns, the same way in training
 *		and in serving.
 *
 *	category	one of the known values, or the rest; of several (an array, a
 *				delimited text, the words of a text) each counts 1 / sqrt(n)
 *	number		a column for each of up to FEATURE_BUCKETS quantiles
 *	timestamp	the same, and columns for month, weekday and hour, 1/2 each
 *	vector		a column a coordinate, scaled to a mean norm of 1
 */
#ifndef RECSYS_FEATURE_CODE_H
#define RECSYS_FEATURE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum FeatureKind
{
	FEATURE_CATEGORY,
	FEATURE_WORDS,       /* a category each word of a text */
	FEATURE_NUMBER,      /* quantiles */
	FEATURE_TIMESTAMP,   /* date or timestamp: microseconds since 2000 */
	FEATURE_TIMESTAMPTZ, /* the same, read with a time zone, taken in UTC */
	FEATURE_VECTOR,
	FEATURE_KINDS
} FeatureKind;

/* as they stand in a model's parameters */
extern const char *const feature_kind_names[FEATURE_KINDS];

#define FEATURE_BUCKETS 10
#define FEATURE_SEASONS (12 + 7 + 24)
#define FEATURE_MAX_LABEL 200 /* bytes; a longer value belongs to the rest */
#define FEATURE_MAX_WORD 40   /* bytes; longer words are cut */
#define FEATURE_MAX_TEXT 2500 /* bytes of a text that are looked at */

/* which bucket: the number of bounds (n, rising) that are at most x */
extern int feature_bucket(const float *bounds, int n, double x);
/*
 * Month (0 to 11), weekday (12 to 18, Sunday first) and hour (19 to 42) of
 * microseconds since 2000-01-01; how many, 0 for what is beyond a calendar.
 */
extern int feature_seasons(double time, int32_t seasons[3]);
/*
 * The next part of a text between delimiters, without blanks around it;
 * empty parts are left out. false at the end.
 */
extern bool feature_next_part(const char **at, const char *end, char delimiter,
							  const char **part, size_t *size);
/*
 * The next word of a text into word (FEATURE_MAX_WORD): letters and digits,
 * ASCII in lower case, bytes beyond ASCII as they are. Single letters are no
 * words. false at the end.
 */
extern bool feature_next_word(const char **at, const char *end, char *word,
							  size_t *size);

#endif

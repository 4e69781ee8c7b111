/*
 * feature_code.c
 *		From a value of a feature to encoded columns.
 */
#include "model/feature_code.h"

#include <math.h>
#include <string.h>

#define USECS_PER_HOUR 3.6e9
#define DAYS_TO_2000 730425 /* from 0000-03-01, proleptic Gregorian */

const char *const feature_kind_names[FEATURE_KINDS] = {
	"category", "words", "number", "timestamp", "timestamptz", "vector"};

int
feature_bucket(const float *bounds, int n, double x)
{
	int bucket = 0;

	while (bucket < n && x >= (double) bounds[bucket])
		bucket++;
	return bucket;
}

/* 0 for January; days since 2000-01-01 */
static int
month_of(int64_t days)
{
	int64_t d = days + DAYS_TO_2000;
	int64_t era = (d >= 0 ? d : d - 146096) / 146097;
	int64_t doe = d - era * 146097;
	int64_t year = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t day = doe - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * day + 2) / 153; /* 0 for March */

	return (int) ((month + 2) % 12);
}

int
feature_seasons(double time, int32_t seasons[3])
{
	double hours = floor(time / USECS_PER_HOUR);
	int64_t hour;
	int64_t day;

	if (!(fabs(hours) < 1e12))
		return 0;
	hour = (int64_t) hours;
	day = hour >= 0 ? hour / 24 : -((23 - hour) / 24);
	seasons[0] = month_of(day);
	/* the first day of 2000 was a Saturday */
	seasons[1] = (int32_t) (12 + ((day % 7) + 7 + 6) % 7);
	seasons[2] = (int32_t) (19 + hour - day * 24);
	return 3;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool
feature_next_part(const char **at, const char *end, char delimiter,
				  const char **part, size_t *size)
{
	const char *p = *at;

	while (p < end)
	{
		const char *to = memchr(p, delimiter, (size_t) (end - p));
		const char *last = to != NULL ? to : end;

		*at = to != NULL ? to + 1 : end;
		while (p < last && is_blank(*p))
			p++;
		while (last > p && is_blank(last[-1]))
			last--;
		if (last > p)
		{
			*part = p;
			*size = (size_t) (last - p);
			return true;
		}
		p = *at;
	}
	return false;
}

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		   (c >= '0' && c <= '9') || (c & 0x80) != 0;
}

bool
feature_next_word(const char **at, const char *end, char *word, size_t *size)
{
	const char *p = *at;

	for (;;)
	{
		size_t n = 0;

		while (p < end && !is_word(*p))
			p++;
		if (p == end)
			break;
		for (; p < end && is_word(*p); p++)
			if (n < FEATURE_MAX_WORD)
				word[n++] =
					*p >= 'A' && *p <= 'Z' ? (char) (*p + 'a' - 'A') : *p;
		/* not in the middle of a character */
		if (n == FEATURE_MAX_WORD)
		{
			while (n > 0 && ((unsigned char) word[n - 1] & 0xc0) == 0x80)
				n--;
			if (n > 0 && (unsigned char) word[n - 1] >= 0xc0)
				n--;
		}
		if (n < 2)
			continue;
		*at = p;
		*size = n;
		return true;
	}
	*at = end;
	return false;
}

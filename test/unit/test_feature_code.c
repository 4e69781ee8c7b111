/*
 * test_feature_code.c
 *		Buckets, seasons of known days, parts and words of texts.
 */
#include <math.h>
#include <string.h>

#include "check.h"
#include "model/feature_code.h"

#define DAY 8.64e10

static void
test_buckets(void)
{
	static const float bounds[3] = {-1, 0, 5};

	CHECK(feature_bucket(bounds, 3, -INFINITY) == 0);
	CHECK(feature_bucket(bounds, 3, -1.5) == 0);
	CHECK(feature_bucket(bounds, 3, -1) == 1);
	CHECK(feature_bucket(bounds, 3, 4.9) == 2);
	CHECK(feature_bucket(bounds, 3, 5) == 3);
	CHECK(feature_bucket(bounds, 3, INFINITY) == 3);
	CHECK(feature_bucket(bounds, 0, 1) == 0);
}

static void
check_time(double time, int month, int weekday, int hour)
{
	int32_t s[3];

	CHECK(feature_seasons(time, s) == 3);
	CHECK(s[0] == month);
	CHECK(s[1] == 12 + weekday);
	CHECK(s[2] == 19 + hour);
}

static void
test_seasons(void)
{
	int32_t s[3];

	check_time(0, 0, 6, 0);
	check_time(DAY * 59 + 3.6e9 * 13.99, 1, 2, 13); /* 29 February 2000 */
	check_time(DAY * 60, 2, 3, 0);
	check_time(-1, 11, 5, 23);         /* 31 December 1999, Friday */
	check_time(DAY * -10957, 0, 4, 0); /* 1 January 1970, Thursday */
	check_time(DAY * 9824, 10, 2, 0);  /* 24 November 2026, Tuesday */
	check_time(DAY * -36524, 0, 1, 0); /* 1 January 1900, Monday */
	CHECK(feature_seasons(INFINITY, s) == 0);
	CHECK(feature_seasons(-INFINITY, s) == 0);
	CHECK(feature_seasons(NAN, s) == 0);
}

/* parts and words, joined by '/' */
static void
check_split(const char *text, char delimiter, const char *expected)
{
	char joined[500] = "";
	char word[FEATURE_MAX_WORD];
	const char *at = text;
	const char *end = text + strlen(text);
	const char *part = word;
	size_t size;

	while (delimiter != 0 ? feature_next_part(&at, end, delimiter, &part, &size)
						  : feature_next_word(&at, end, word, &size))
	{
		strncat(joined, part, size);
		strcat(joined, "/");
	}
	CHECK(strcmp(joined, expected) == 0);
	CHECK(at == end);
}

int
main(void)
{
	test_buckets();
	test_seasons();
	check_split("Action|Comedy", '|', "Action/Comedy/");
	check_split("|| Action |\tSci-Fi ||", '|', "Action/Sci-Fi/");
	check_split("", '|', "");
	check_split("  ", ',', "");
	check_split("Star Wars: Episode IV (1977)", 0,
				"star/wars/episode/iv/1977/");
	check_split("a b, C!", 0, "");
	check_split("Am\xc3\xa9lie d'Ete", 0, "am\xc3\xa9lie/ete/");
	check_split("xxxxxxxxxxyyyyyyyyyyxxxxxxxxxxyyyyyyyyyyzzz tail", 0,
				"xxxxxxxxxxyyyyyyyyyyxxxxxxxxxxyyyyyyyyyy/tail/");
	/* the cut falls into the last character */
	check_split("xxxxxxxxxxyyyyyyyyyyxxxxxxxxxxyyyyyyyyy\xc3\xa9", 0,
				"xxxxxxxxxxyyyyyyyyyyxxxxxxxxxxyyyyyyyyy/");
	return check_summary();
}

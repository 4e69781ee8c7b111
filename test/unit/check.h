/*
 * check.h
 *		What unit tests count with. Each is one program of one file.
 */
#ifndef RECSYS_CHECK_H
#define RECSYS_CHECK_H

#include <stdio.h>

static int check_passed;
static int check_failed;

#define CHECK(condition) check_one((condition) ? 1 : 0, #condition, __LINE__)

static inline void
check_one(int good, const char *what, int line)
{
	if (good)
		check_passed++;
	else if (++check_failed <= 50)
		printf("line %d: %s\n", line, what);
}

/* the exit status */
static inline int
check_summary(void)
{
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed > 0;
}

#endif

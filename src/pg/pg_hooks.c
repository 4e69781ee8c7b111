/*
 * pg_hooks.c
 *		Hooks of src/math for backends, and statuses as errors.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "math/hooks.h"
#include "pg/pg_hooks.h"

/*
 * palloc gives 8-byte alignment; kernels use unaligned loads, so that is
 * enough for correctness.
 */
static void *
backend_alloc(size_t bytes)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, Max(bytes, 1));
}

static void
backend_release(void *ptr)
{
	if (ptr != NULL)
		pfree(ptr);
}

static bool
backend_interrupt(void)
{
	CHECK_FOR_INTERRUPTS();
	return false;
}

void
pg_install_math_hooks(void)
{
	math_hooks.alloc = backend_alloc;
	math_hooks.release = backend_release;
	math_hooks.interrupt = backend_interrupt;
}

int
pg_sqlstate(RsStatus status)
{
	switch (status)
	{
		case RS_CANCELLED:
			return ERRCODE_QUERY_CANCELED;
		case RS_NO_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case RS_INVALID:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case RS_DIVERGED:
			return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		case RS_NO_DATA:
			return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		default:
			return ERRCODE_INTERNAL_ERROR;
	}
}

void
pg_throw_status(RsStatus status, const char *what, const char *detail)
{
	ereport(
		ERROR,
		(errcode(pg_sqlstate(status)), errmsg("%s", what),
		 detail != NULL && detail[0] != '\0' ? errdetail("%s", detail) : 0));
}

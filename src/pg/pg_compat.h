/*
 * pg_compat.h
 *		The only file that knows differences between PostgreSQL versions.
 */
#ifndef RECSYS_PG_COMPAT_H
#define RECSYS_PG_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "recsys needs PostgreSQL 15 or newer"
#endif

#endif

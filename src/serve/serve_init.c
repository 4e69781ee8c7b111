/*
 * serve_init.c
 *		Loading of recsys.so: settings, and what lower layers get from higher
 *		ones.
 */
#include "postgres.h"

#include "pg/pg_module.h"
#include "store/store_queries.h"

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	pg_module_init();
	store_install_query_source();
}

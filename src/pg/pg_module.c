/*
 * pg_module.c
 *		The module: magic block, settings, hooks of pure C.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/guc.h"

#include "pg/pg_hooks.h"
#include "pg/pg_module.h"

PG_MODULE_MAGIC;

double recsys_target_recall = 0.99;
int recsys_train_memory = 4 * 1024 * 1024;
int recsys_cache_size = 64 * 1024;
int recsys_max_workers = 2;
int recsys_max_train_time = 0;

void
pg_module_init(void)
{
	DefineCustomRealVariable(
		"recsys.target_recall",
		"Share of the true nearest rows that index scans aim to return.",
		"1.0 gives exact answers by proven bounds.", &recsys_target_recall,
		0.99, 0.5, 1.0, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("recsys.train_memory",
							"Most shared memory that one training may use.",
							NULL, &recsys_train_memory, 4 * 1024 * 1024, 1024,
							INT_MAX, PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"recsys.cache_size",
		"Most memory for model vectors cached in one session.", NULL,
		&recsys_cache_size, 64 * 1024, 0, INT_MAX, PGC_USERSET, GUC_UNIT_KB,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"recsys.max_workers", "Most compute workers of one training.", NULL,
		&recsys_max_workers, 2, 1, 64, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("recsys.max_train_time",
							"Longest time that a training may take.",
							"0 means no limit.", &recsys_max_train_time, 0, 0,
							INT_MAX, PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	MarkGUCPrefixReserved("recsys");
	pg_install_math_hooks();
}

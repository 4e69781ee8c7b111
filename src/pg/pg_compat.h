/*
 * pg_compat.h
 *		The only file that knows differences between PostgreSQL versions.
 */
#ifndef RECSYS_PG_COMPAT_H
#define RECSYS_PG_COMPAT_H

#include "postgres.h"

#include "catalog/pg_namespace.h"

#if PG_VERSION_NUM < 150000
#error "recsys needs PostgreSQL 15 or newer"
#endif

/* VARSIZE and its like have a header of their own since 16. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 writes it before the declaration and dropped the attribute after it. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn _Noreturn
#endif

/* Soft errors of input functions came with 16. */
#if PG_VERSION_NUM < 160000
#define ereturn(context, value, ...)                                           \
	do                                                                         \
	{                                                                          \
		(void) (context);                                                      \
		ereport(ERROR, __VA_ARGS__);                                           \
	} while (0)
#endif

/* index_beginscan takes an instrumentation argument since 18. */
#if PG_VERSION_NUM >= 180000
#define pg_index_beginscan(heap, index, snapshot, nkeys)                       \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#define pg_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define pg_index_beginscan(heap, index, snapshot, nkeys)                       \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#define pg_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* The local transaction id moved in 17. */
#if PG_VERSION_NUM >= 170000
#define pg_my_lxid() (MyProc->vxid.lxid)
#else
#define pg_my_lxid() (MyProc->lxid)
#endif

/* The statistics target of a column being analyzed moved in 17. */
#if PG_VERSION_NUM >= 170000
#define pg_stats_target(stats) ((stats)->attstattarget)
#else
#define pg_stats_target(stats) ((stats)->attr->attstattarget)
#endif

/* old_snapshot_threshold, by which snapshots grow too old, is gone since 17. */
#if PG_VERSION_NUM >= 170000
#define pg_test_for_old_snapshot(snapshot, rel, page) ((void) 0)
#else
#define pg_test_for_old_snapshot(snapshot, rel, page)                          \
	TestForOldSnapshot(snapshot, rel, page)
#endif

/* The cost delay of VACUUM knows ANALYZE since 18. */
#if PG_VERSION_NUM >= 180000
#define pg_vacuum_delay_point() vacuum_delay_point(false)
#else
#define pg_vacuum_delay_point() vacuum_delay_point()
#endif

/*
 * A path that must never be taken: since 18 the planner compares the number
 * of disabled nodes before costs, and enable_seqscan = off makes one.
 */
#if PG_VERSION_NUM >= 180000
#define pg_disable_path(path) ((path)->disabled_nodes = 2)
#else
#define pg_disable_path(path) ((void) (path))
#endif

/* Who counts the workers of an index build: since 17 the server. */
#if PG_VERSION_NUM >= 170000
#define pg_am_builds_parallel(am) ((am)->amcanbuildparallel = true)
#define pg_index_build_workers(heap, index, info) ((info)->ii_ParallelWorkers)
#else
#define pg_am_builds_parallel(am) ((void) (am))
#define pg_index_build_workers(heap, index, info)                              \
	plan_create_index_workers(RelationGetRelid(heap), RelationGetRelid(index))
#endif

/* Is this an autovacuum worker? */
#if PG_VERSION_NUM >= 170000
#define pg_is_autovacuum() AmAutoVacuumWorkerProcess()
#else
#define pg_is_autovacuum() IsAutoVacuumWorkerProcess()
#endif

/* Functions of an index run with a safe search path since 17. */
#if PG_VERSION_NUM >= 170000
#define pg_restrict_search_path() RestrictSearchPath()
#else
#define pg_restrict_search_path() ((void) 0)
#endif

/* Since 17 CREATE INDEX, too, runs functions with autovacuum's search path. */
#define PG_SAFE_MAINTENANCE (PG_VERSION_NUM >= 170000)

/* EXPLAIN tells the searches of an index scan since 18. */
#if PG_VERSION_NUM >= 180000
#define pg_count_search(scan)                                                  \
	do                                                                         \
	{                                                                          \
		if ((scan)->instrument)                                                \
			(scan)->instrument->nsearches++;                                   \
	} while (0)
#else
#define pg_count_search(scan) ((void) (scan))
#endif

/* A datum out of a sort, not copied, which 16 made a choice. */
#if PG_VERSION_NUM >= 160000
#define pg_tuplesort_getdatum(sort, value, null)                               \
	tuplesort_getdatum(sort, true, false, value, null, NULL)
#else
#define pg_tuplesort_getdatum(sort, value, null)                               \
	tuplesort_getdatum(sort, true, value, null, NULL)
#endif

/* A relation's file got another name in 16. */
#if PG_VERSION_NUM >= 160000
#define pg_relation_locator(rel) ((rel)->rd_locator)
#else
#define pg_relation_locator(rel) ((rel)->rd_node)
#endif

/* Ownership and index entries changed their signatures in 16. */
#if PG_VERSION_NUM >= 160000
#define pg_owns_relation(relation, role)                                       \
	object_ownercheck(RelationRelationId, relation, role)
#define pg_may_create_in(schema, role)                                         \
	(object_aclcheck(NamespaceRelationId, schema, role, ACL_CREATE) ==         \
	 ACLCHECK_OK)
#define pg_may_give_to(role, owner) member_can_set_role(role, owner)
#define pg_may_use_schema(schema, role)                                        \
	(object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE) ==          \
	 ACLCHECK_OK)
#define pg_insert_index_tuples(result, slot, estate)                           \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
#define pg_owns_relation(relation, role) pg_class_ownercheck(relation, role)
#define pg_may_create_in(schema, role)                                         \
	(pg_namespace_aclcheck(schema, role, ACL_CREATE) == ACLCHECK_OK)
#define pg_may_give_to(role, owner) is_member_of_role(role, owner)
#define pg_may_use_schema(schema, role)                                        \
	(pg_namespace_aclcheck(schema, role, ACL_USAGE) == ACLCHECK_OK)
#define pg_insert_index_tuples(result, slot, estate)                           \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#endif

/*
 * Of libpq/libpq.h, which cannot be included where the server was built with
 * GSSAPI and its headers are not there.
 */
extern bool pq_check_connection(void);

#endif

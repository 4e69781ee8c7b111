/*
 * ann_cost.c
 *		What a scan costs.
 *
 * The planner interpolates between startup and total cost by the share of
 * rows that a LIMIT asks for; the total is that of returning every row, by
 * which a sort is cheaper, and the startup that of finding the first.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "index/ann.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "pg/pg_compat.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

#define FIRST_ROWS 0.01   /* share of the rows that are looked at for one */
#define OPERATORS_A_ROW 4 /* work on a row, in calls of an operator */

void
anncostestimate(PlannerInfo *root, IndexPath *path, double loop_count,
				Cost *startup, Cost *total, Selectivity *selectivity,
				double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	double rows = Max(info->tuples, 1), opened;
	double page_cost, work;

	*correlation = 0;
	*selectivity = 1;
	*pages = info->pages;
	if (path->indexorderbys == NIL)
	{
		/* without an order there is nothing that this index can do */
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*pages = 0;
		pg_disable_path(&path->path);
		return;
	}
	get_tablespace_page_costs(info->reltablespace, NULL, &page_cost);
	/* centroids (about sqrt(rows) of them), then the nearest cells */
	opened = Min(rows, 500 + FIRST_ROWS * rows);
	work = cpu_operator_cost * sqrt(rows) / 4;
	*startup = work + opened * cpu_operator_cost / 4 +
			   info->pages * (opened / rows) * page_cost;
	*total =
		*startup + info->pages * page_cost +
		rows * (cpu_index_tuple_cost + OPERATORS_A_ROW * cpu_operator_cost);
}

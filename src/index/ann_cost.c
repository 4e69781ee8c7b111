/*
 * ann_cost.c
 *		What a scan costs.
 *
 * The planner takes the cost of a scan as a line from startup to total, and
 * of it the share of rows that a LIMIT asks for. A true scan is no line: its
 * first rows cost more than the others, by the pages of the index that have to
 * be read for them and by rows of the table that lie apart. So the total is
 * that of returning every row, and the startup what puts the line through the
 * cost of the rows that this query will ask for, where the planner knows it.
 *
 * The constants are from test/bench/plans.py: 1,000 to 300,000 rows of 16 to
 * 384 dimensions in the cache, where a sort takes about 4 microseconds for
 * what the planner counts as 1.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "index/ann.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "pg/pg_compat.h"
#include "utils/float.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

/* A row returned takes 1 to 2 microseconds: to bound it, to fetch it, to
 * compute its distance, and places in two heaps. In calls of an operator. */
#define ROW_OPERATORS 120
/* a scan of no rows: 15 microseconds */
#define SCAN_OPERATORS 1500
/* where it is not known how many rows are wanted, they are few */
#define FEW_ROWS 10

/*
 * How many rows of the index will be asked for, as the planner knows a LIMIT:
 * more when a filter drops some, less of a partition. -1: not known, for
 * instance LIMIT $1.
 */
static double
rows_wanted(PlannerInfo *root, const RelOptInfo *rel, double tuples)
{
	const RelOptInfo *top = rel;
	int relid;

	if (root->tuple_fraction <= 0)
		return tuples;
	if (root->limit_tuples < 0)
		return -1;
	if (rel->top_parent_relids != NULL &&
		bms_get_singleton_member(rel->top_parent_relids, &relid))
		top = find_base_rel(root, relid);
	return Min(tuples, Max(root->limit_tuples * tuples / Max(top->rows, 1), 1));
}

/*
 * Cost of reading so many of some pages, in no order: one by one when they are
 * few, but in the end all of them, as the planner counts for bitmap heap scans.
 */
static double
read_cost(double read, double pages, double random_cost, double seq_cost)
{
	read = Min(read, pages);
	if (read <= 0)
		return 0;
	return read * (random_cost - (random_cost - seq_cost) * sqrt(read / pages));
}

/*
 * What the scan does in the index for its first `rows` rows. Of its pages those
 * of the nearest cells are read, more of them for more rows, and for wide
 * ones: in many dimensions bounds say less. Rows are as wide as the table's
 * pages tell. Where vectors lie in a TOAST table, which the planner does not
 * count for a sort, the index counts for no more than the table either.
 */
static double
index_cost(const IndexOptInfo *info, double rows)
{
	const RelOptInfo *rel = info->rel;
	double tuples = Max(info->tuples, 1), random_cost, seq_cost;
	double width = rel->pages / Max(rel->tuples, 1);
	double share = Min(1, sqrt(rows / tuples) + width);
	double pages = Min(info->pages, rel->pages);

	get_tablespace_page_costs(info->reltablespace, &random_cost, &seq_cost);
	return SCAN_OPERATORS * cpu_operator_cost +
		   read_cost(ceil(share * pages), pages, random_cost, seq_cost) +
		   rows * (cpu_index_tuple_cost + ROW_OPERATORS * cpu_operator_cost);
}

void
anncostestimate(PlannerInfo *root, IndexPath *path, double loop_count,
				Cost *startup, Cost *total, Selectivity *selectivity,
				double *correlation, double *pages)
{
	IndexOptInfo *info = path->indexinfo;
	RelOptInfo *rel = info->rel;
	double tuples = Max(info->tuples, 1), wanted, share;
	double random_cost, seq_cost, heap, heap_all;

	*correlation = 0;
	*selectivity = 1;
	*pages = info->pages;
	if (list_length(path->indexorderbys) != 1)
	{
		/* without an order there is nothing that this index can do, nor with a
		 * second distance, which the planner takes for one more of the same */
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*pages = 0;
		pg_disable_path(&path->path);
		return;
	}
	/* fewer rows than the table in a partial index */
	*selectivity = Min(1, tuples / Max(rel->tuples, 1));
	*total = index_cost(info, tuples);
	wanted = rows_wanted(root, rel, tuples);
	share = wanted / tuples;
	if (wanted < 0)
	{
		*startup = Min(*total, index_cost(info, Min(tuples, FEW_ROWS)));
		return;
	}
	if (share >= 1)
	{
		*startup = Min(*total, index_cost(info, 1));
		return;
	}
	/* the planner will add to the total that of fetching every row */
	get_tablespace_page_costs(rel->reltablespace, &random_cost, &seq_cost);
	heap_all = random_cost *
			   index_pages_fetched(tuples, rel->pages, info->pages, root);
	heap = read_cost(index_pages_fetched(wanted, rel->pages, info->pages, root),
					 rel->pages, random_cost, seq_cost);
	*startup = (index_cost(info, wanted) + heap - share * (*total + heap_all)) /
			   (1 - share);
	*startup = Min(Max(*startup, SCAN_OPERATORS * cpu_operator_cost), *total);
}

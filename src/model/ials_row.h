/*
 * ials_row.h
 *		One row of implicit ALS, solved exactly or block by block.
 */
#ifndef RECSYS_IALS_ROW_H
#define RECSYS_IALS_ROW_H

#include "model/ials.h"

/* private memory of one member, for one half of an epoch */
typedef struct IalsRow
{
	const Ials *als;
	const IalsSide *side;
	float *target;
	const float *source;
	int longest;  /* interactions of the longest row */
	float *d_inv; /* (ld) D^-1/2 of the row */
	float *x;     /* (ld, small) or (ROW_BLOCK, ld): scaled source rows */
	float *a;     /* system, with room for its right side */
	float *t;     /* (longest + 16) targets sqrt(c) (1 - h.q) */
	float *y;     /* solution of a narrow row, right side of a wide one */
	float *root;  /* (longest + 16) sqrt(c); NULL without weights */
	float *z;     /* (ld) */
	float *start; /* (ld) the row as it was, in the axes of the source */
} IalsRow;

extern RsStatus ials_row_init(IalsRow *row, const Ials *als,
							  const IalsSide *side, float *target,
							  const float *source);
/* into the cache what row r reads, while the row before is solved for */
extern void ials_row_fetch(const IalsRow *row, int32_t r);
/* solve or improve row r of target; returns its part of the objective */
extern double ials_row_solve(IalsRow *row, int32_t r);
extern void ials_row_free(IalsRow *row);

#endif

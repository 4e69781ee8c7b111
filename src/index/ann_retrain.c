/*
 * ann_retrain.c
 *		A new structure for an index whose rows no longer fit the old one.
 */
#include "postgres.h"

#include "index/ann_build.h"

bool
ann_retrain_due(const AnnMeta *meta, const AnnLayout *layout)
{
	return false;
}

bool
ann_retrain(Relation index, Relation heap, bool wait)
{
	return false;
}

/*
 * ann_prefetch.h
 *		Parts of pages on their way into the processor's cache before they are
 *		read.
 */
#ifndef RECSYS_ANN_PREFETCH_H
#define RECSYS_ANN_PREFETCH_H

#include "index/ann.h"

#define ANN_CACHE_LINE 64

/* where a block was last, NULL if that is not known. It may be another one by now:
 * for prefetching alone */
static inline const char *
ann_recent_page(const AnnRecent *recent, BlockNumber block)
{
	if (block >= recent->blocks || recent->buffer[block] == InvalidBuffer)
		return NULL;
	return (const char *) BufferGetPage(recent->buffer[block]);
}

/* the lines that ann_check_page reads */
static inline void
ann_prefetch_check(const char *page)
{
	__builtin_prefetch(page);
	__builtin_prefetch(page + BLCKSZ - sizeof(AnnOpaque));
}

static inline void
ann_prefetch(const char *at, int bytes)
{
	for (int i = 0; i < bytes; i += ANN_CACHE_LINE)
		__builtin_prefetch(at + i);
}

#endif

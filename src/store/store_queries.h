/*
 * store_queries.h
 *		What the store tells the index about who asks.
 */
#ifndef RECSYS_STORE_QUERIES_H
#define RECSYS_STORE_QUERIES_H

/* called once, when recsys.so is loaded */
extern void store_install_query_source(void);

#endif

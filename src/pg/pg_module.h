/*
 * pg_module.h
 *		Settings of the extension. Defined in pg_module.c.
 */
#ifndef RECSYS_PG_MODULE_H
#define RECSYS_PG_MODULE_H

extern double recsys_target_recall; /* 0.5 .. 1.0, index scans */
extern int recsys_train_memory;     /* kB, bound of a training's segment */
extern int recsys_cache_size;       /* kB, packed items cached in a backend */
extern int recsys_max_workers;      /* compute workers of one training */
extern int recsys_max_train_time;   /* s, 0: no limit */

/* called once, when recsys.so is loaded */
extern void pg_module_init(void);

#endif

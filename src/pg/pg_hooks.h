/*
 * pg_hooks.h
 *		Where pure C meets the server: memory, interrupts, errors.
 */
#ifndef RECSYS_PG_HOOKS_H
#define RECSYS_PG_HOOKS_H

#include "math/status.h"

/* palloc in the current context, CHECK_FOR_INTERRUPTS; once a backend */
extern void pg_install_math_hooks(void);
extern int pg_sqlstate(RsStatus status);
/* ereport(ERROR) with the SQLSTATE of a status; detail may be NULL or "" */
extern void pg_throw_status(RsStatus status, const char *what,
							const char *detail);

#endif

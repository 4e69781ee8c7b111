/*
 * compute_main.c
 *		Entry of recsys_train.so: one compute worker of a training.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

/*
 * clones.h
 *		CLONES before a function: code for each kind of processor, of which the
 *		loader picks.
 */
#ifndef RECSYS_CLONES_H
#define RECSYS_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES                                                                 \
	__attribute__((                                                            \
		target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CLONES
#endif

#endif

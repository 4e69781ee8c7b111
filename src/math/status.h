/*
 * status.h
 *		What a pure C function says about how it ended.
 *
 * src/math and src/model know nothing of the server and raise no errors: they
 * return one of these, and src/pg turns it into an error with an SQLSTATE.
 */
#ifndef RECSYS_STATUS_H
#define RECSYS_STATUS_H

typedef enum RsStatus
{
	RS_OK = 0,
	RS_CANCELLED, /* the team's cancel flag or the interrupt hook said stop */
	RS_NO_MEMORY, /* an allocation failed or an arena is too small */
	RS_INVALID,   /* an argument or a combination of data makes no sense */
	RS_DIVERGED,  /* a loss or a parameter became NaN or infinite */
	RS_NO_DATA,   /* too few users, items or interactions */
	RS_INTERNAL   /* cannot happen */
} RsStatus;

#endif

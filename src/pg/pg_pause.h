/*
 * pg_pause.h
 *		Named points at which a test can stop a backend.
 *
 * Only in builds with -DRECSYS_PAUSES (test/run makes them). A backend that
 * comes to PAUSE_POINT("name") waits while another session holds
 *
 *		SELECT pg_advisory_lock(hashtext('name'));
 *
 * so points stand where no buffer is locked.
 */
#ifndef RECSYS_PG_PAUSE_H
#define RECSYS_PG_PAUSE_H

#ifdef RECSYS_PAUSES
#define PAUSE_POINT(name) pg_pause(name)
extern void pg_pause(const char *name);
#else
#define PAUSE_POINT(name) ((void) 0)
#endif

#endif

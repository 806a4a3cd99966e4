/*
 * leadscore.h
 *	  What every part of leadscore may use.
 *
 * A part (a folder below src/) exports functions to the parts after it through
 * its own header; this file holds only what all of them share.
 */
#ifndef LEADSCORE_H
#define LEADSCORE_H

#include "postgres.h"
#include "fmgr.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "compat.h"

/* The schema all our objects live in (fixed in leadscore.control). */
#define LS_SCHEMA "leadscore"

/*
 * Catalog writes run as the owner of the extension, so that a user who may
 * call our functions needs no right on our tables. Conditions and anything
 * else that a user wrote must be evaluated outside such a section. An error
 * inside it is undone by the abort of the (sub)transaction.
 */
typedef struct LsUser
{
	Oid			userid;
	int			sec_context;
} LsUser;

extern void ls_become_owner(LsUser *saved);
extern void ls_become_caller(const LsUser *saved);

/* OID of our schema; an error if the extension is not installed. */
extern Oid	ls_schema_oid(void);

/*
 * Opens a relation that a user named by its OID (regclass): one that does not
 * exist is an error of the user's, not an internal one as in relation_open.
 */
extern Relation ls_relation_open(Oid relid, LOCKMODE lockmode);

/*
 * What SPI returns when it does not throw: expected, or (0) anything but a
 * failure. Something else is a mistake of ours.
 */
extern void ls_spi_expect(int result, int expected);

/*
 * Do something in a subtransaction, and undo it, with the locks it took, unless
 * it is to be kept. NULL, or the error that undid it, in the caller's context:
 * what is not the caller's to deal with must go on (ReThrowError).
 */
extern ErrorData *ls_attempt(void (*work) (void *arg), void *arg, bool keep);

struct _SPI_plan;
extern struct _SPI_plan *ls_spi_prepare(const char *sql, int nargs, Oid *types);

#endif							/* LEADSCORE_H */

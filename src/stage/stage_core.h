/*
 * stage_core.h
 *	  The lifecycle stage without the server: its codes, names and synonyms.
 *
 * No backend header here or in stage_core.c, so that the parser can be fuzzed.
 *
 * A stage is stored as one byte. The codes are a contract with the stored data,
 * the binary protocol and the indexes: they are never changed or reused. They
 * lie 20 apart, so that a stage which a later version adds between two others
 * (say, a sales accepted lead between mql and sql) takes a free code between
 * theirs, and sorts there, without a stored byte being rewritten.
 */
#ifndef LS_STAGE_CORE_H
#define LS_STAGE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAGE_LEAD			20
#define STAGE_MQL			40
#define STAGE_SQL			60
#define STAGE_PROSPECT		80
#define STAGE_CLIENT		100
#define STAGE_LOST			200
#define STAGE_DISQUALIFIED	220

/* canonical name, or NULL if the code is none of ours */
extern const char *ls_stage_name(uint8_t code);

/*
 * Reads a name or synonym of len bytes; false if it is none. Case, blanks at the
 * ends, and the choice between blank, "-" and "_" between words do not matter,
 * nor do acute accents on an e (utf8 tells how they are encoded; if it is false,
 * Latin-1 and its relatives).
 */
extern bool ls_stage_parse(const char *text, size_t len, bool utf8, uint8_t *code);

#endif							/* LS_STAGE_CORE_H */

/*
 * pipeline_catalog.c
 *	  How this part reads and writes its own tables: as the owner of the
 *	  extension, with a search_path that nobody can have prepared.
 */
#include "leadscore.h"

#include "executor/spi.h"
#include "utils/guc.h"

#include "pipeline/pipeline.h"

static int
set_path(const char *path)
{
	int			nest = NewGUCNestLevel();

	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest;
}

/* the path under which guards are understood; undone with AtEOXact_GUC(true, nest) */
void
ls_path_begin(int *nest)
{
	*nest = set_path("pg_catalog, leadscore, pg_temp");
}

void
ls_owner_begin(LsOwnerSection *section)
{
	section->nest = set_path("pg_catalog, pg_temp");
	ls_become_owner(&section->user);
	SPI_connect();
}

void
ls_owner_end(LsOwnerSection *section)
{
	SPI_finish();
	ls_become_caller(&section->user);
	AtEOXact_GUC(true, section->nest);
}

/* one statement as the owner; returns the number of rows */
uint64
ls_owner_sql(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	LsOwnerSection section;
	uint64		processed;
	int			rc;

	ls_owner_begin(&section);
	rc = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	ls_spi_expect(rc, 0);
	processed = SPI_processed;
	ls_owner_end(&section);
	return processed;
}

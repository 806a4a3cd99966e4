/*
 * pipeline_session.c
 *	  What a session says about its moves: the reason, an override of the rules,
 *	  a true date for moves that are imported.
 *
 * All three are settings, so that they follow transactions and savepoints by
 * themselves. An override or a date can be set through their functions only, for
 * one transaction; whether the user may use them is asked again at each move, of
 * the pipeline that the lead is in.
 */
#include "leadscore.h"

#include "access/parallel.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "pipeline/pipeline.h"

PG_FUNCTION_INFO_V1(leadscore_override);
PG_FUNCTION_INFO_V1(leadscore_backdate);

/*
 * leadscore.reason: why the moves of this transaction (SET LOCAL) or session
 * are made. Recorded with each; some transitions require one.
 */
static char *reason_setting = NULL;

/* leadscore.override: reason of the override that is in force, or empty */
static char *override_setting = NULL;

/* leadscore.backdate: microseconds since 2000 as a number, or empty */
static char *backdate_setting = NULL;

/* set while one of our functions changes a setting that nobody else may */
static bool setting_ours = false;

static bool
check_ours(char **newval, void **extra, GucSource source)
{
	(void) extra;
	if (setting_ours || **newval == '\0' || source == PGC_S_DEFAULT || InitializingParallelWorker)
		return true;
	GUC_check_errcode(ERRCODE_INSUFFICIENT_PRIVILEGE);
	GUC_check_errmsg("this setting cannot be set directly");
	GUC_check_errhint("Use leadscore.override() or leadscore.backdate().");
	return false;
}

void
ls_session_init(void)
{
	DefineCustomStringVariable("leadscore.reason",
							   "Why leads are moved; recorded in the history of stages.",
							   "Use SET LOCAL, so that it holds for one transaction.",
							   &reason_setting, "", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("leadscore.override",
							   "Reason of the override that is in force; see leadscore.override().",
							   NULL, &override_setting, "", PGC_USERSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, check_ours, NULL, NULL);
	DefineCustomStringVariable("leadscore.backdate",
							   "True date of the moves of this transaction; see leadscore.backdate().",
							   NULL, &backdate_setting, "", PGC_USERSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, check_ours, NULL, NULL);
	MarkGUCPrefixReserved("leadscore");
}

static bool
is_blank(const char *p)
{
	while (p != NULL && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
		p++;
	return p == NULL || *p == '\0';
}

/* the reason that is set, or NULL; blanks are no reason */
const char *
ls_reason(void)
{
	return is_blank(reason_setting) ? NULL : reason_setting;
}

/* member of the role, or of the owner of the pipeline where it names none */
static bool
may(const char *role, const char *owner)
{
	Oid			oid = get_role_oid(role != NULL ? role : owner, true);

	return OidIsValid(oid) && has_privs_of_role(GetUserId(), oid);
}

/* whether the rules of a pipeline are overridden, by somebody who may */
bool
ls_overridden(const LsRules *rules)
{
	return override_setting != NULL && *override_setting != '\0' && may(rules->override_role, rules->owner);
}

/*
 * Why the rules are overridden: what override() was told, with leadscore.reason
 * where that has come to say something else.
 */
const char *
ls_override_reason(void)
{
	const char *reason = ls_reason();

	if (reason == NULL || strcmp(reason, override_setting) == 0)
		return override_setting;
	return psprintf("%s; %s", override_setting, reason);
}

/*
 * Whether moves carry a true date of their own; an error if one is set and the
 * user may not backdate in this pipeline.
 */
bool
ls_backdated(const LsRules *rules, TimestampTz *at)
{
	if (backdate_setting == NULL || *backdate_setting == '\0')
		return false;
	ls_check_importer(rules);
	*at = strtoll(backdate_setting, NULL, 10);
	return true;
}

void
ls_check_importer(const LsRules *rules)
{
	if (!may(rules->import_role, rules->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to backdate moves in pipeline \"%s\"", rules->pipeline),
				 errdetail("That is for members of role %s.", rules->import_role ? rules->import_role : rules->owner)));
}

/* true dates lie in the past */
void
ls_check_true_date(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the true date of a move must lie in the past")));
}

static void
set_ours(const char *name, const char *value)
{
	setting_ours = true;
	PG_TRY();
	{
		(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	}
	PG_FINALLY();
	{
		setting_ours = false;
	}
	PG_END_TRY();
}

/* is there any pipeline whose rules the caller may override? */
static bool
may_override_any(void)
{
	LsOwnerSection section;
	bool		found = false;

	ls_owner_begin(&section);
	if (SPI_execute("SELECT override_role, owner FROM leadscore.pipeline", true, 0) == SPI_OK_SELECT)
	{
		for (uint64 i = 0; i < SPI_processed && !found; i++)
		{
			char	   *role = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
			char	   *owner = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
			Oid			oid = get_role_oid(role != NULL ? role : owner, true);

			found = OidIsValid(oid) && has_privs_of_role(section.user.userid, oid);
		}
	}
	ls_owner_end(&section);
	return found;
}

Datum
leadscore_override(PG_FUNCTION_ARGS)
{
	char	   *reason = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (is_blank(reason))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an override needs a reason"),
				 errhint("It is recorded with every move that is overridden.")));
	if (!may_override_any())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to override the rules of a pipeline"),
				 errhint("leadscore.set_pipeline_roles() names the role that may.")));
	set_ours("leadscore.override", reason);
	(void) set_config_option("leadscore.reason", reason, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	PG_RETURN_VOID();
}

Datum
leadscore_backdate(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		set_ours("leadscore.backdate", "");
	else
	{
		ls_check_true_date(PG_GETARG_TIMESTAMPTZ(0));
		set_ours("leadscore.backdate", psprintf(INT64_FORMAT, PG_GETARG_TIMESTAMPTZ(0)));
	}
	PG_RETURN_VOID();
}

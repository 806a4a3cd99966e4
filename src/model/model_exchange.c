/*
 * model_exchange.c
 *	  Models as jsonb documents: reading them strictly, and writing rules so that
 *	  they mean the same in a database with another search_path.
 *
 * A document goes through the same functions as statements do that define a
 * model, so that it cannot say anything they would refuse.
 */
#include "leadscore.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/resowner.h"

#include "model/model.h"

PG_FUNCTION_INFO_V1(leadscore_portable_text);
PG_FUNCTION_INFO_V1(leadscore_import_model);

#define DOCUMENT_FORMAT		1

/* the functions that define models, in model_define.c */
extern Datum leadscore_create_model(PG_FUNCTION_ARGS);
extern Datum leadscore_add_component(PG_FUNCTION_ARGS);
extern Datum leadscore_add_rule(PG_FUNCTION_ARGS);
extern Datum leadscore_add_band(PG_FUNCTION_ARGS);
extern Datum leadscore_set_bounds(PG_FUNCTION_ARGS);

/*
 * Does the text, read without a search_path, mean what was understood? Reading
 * may fail, and is done in a subtransaction.
 */
static bool
means_the_same(const char *written, const char *understood, Oid relid, bool numeric)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool same = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		LsParsed	parsed;
		int			level = ls_portable_settings();

		ls_condition_parse(written, relid, "", "", numeric, &parsed);
		AtEOXact_GUC(true, level);
		same = strcmp(parsed.sql, understood) == 0;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* what concerns the statement and not the text goes on */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return same;
}

Datum
leadscore_portable_text(PG_FUNCTION_ARGS)
{
	char	   *written = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *understood = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (means_the_same(written, understood, PG_GETARG_OID(2), PG_GETARG_BOOL(3)))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	PG_RETURN_DATUM(PG_GETARG_DATUM(1));
}

/* An object of the document, with where it stands for messages. */
typedef struct Element
{
	JsonbContainer *object;
	char	   *where;
} Element;

static void
bad_document(const char *where, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid model document: %s %s", where, what),
			 errhint("leadscore.export_model gives an example of a valid document.")));
}

/* Refuse keys that nothing reads: a misspelt one must not be lost in silence. */
static void
check_keys(const Element *element, const char *const *keys)
{
	JsonbIterator *it = JsonbIteratorInit(element->object);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		for (int i = 0; keys[i] != NULL; i++)
			if ((int) strlen(keys[i]) == value.val.string.len &&
				strncmp(keys[i], value.val.string.val, value.val.string.len) == 0)
				known = true;
		if (!known)
			bad_document(element->where,
						 psprintf("has an unknown key \"%.*s\"", value.val.string.len, value.val.string.val));
	}
}

static bool
find_value(const Element *element, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(element->object, key, strlen(key), value) != NULL &&
		value->type != jbvNull;
}

/* A string, or NULL if it is not there; a number is taken as its digits where that is asked for. */
static char *
get_text(const Element *element, const char *key, bool required, bool number_too)
{
	JsonbValue	value;

	if (!find_value(element, key, &value))
	{
		if (required)
			bad_document(element->where, psprintf("lacks \"%s\"", key));
		return NULL;
	}
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	if (value.type == jbvNumeric && number_too)
		return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
	bad_document(element->where, psprintf("has a \"%s\" that is not a string%s", key, number_too ? " or number" : ""));
	return NULL;
}

/* A number, infinities as strings; false if it is not there. */
static bool
get_number(const Element *element, const char *key, double *number)
{
	JsonbValue	value;

	if (!find_value(element, key, &value))
		return false;
	if (value.type == jbvNumeric)
		*number = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value.val.numeric)));
	else if (value.type == jbvString && value.val.string.len == 9 && strncmp(value.val.string.val, "-infinity", 9) == 0)
		*number = -INFINITY;
	else
		bad_document(element->where, psprintf("has a \"%s\" that is not a number", key));
	return true;
}

/* The elements of an array, all of them objects; none if it is not there. */
static Element *
get_objects(const Element *document, const char *key, int *n)
{
	JsonbValue	value;
	Element    *elements;

	*n = 0;
	if (!find_value(document, key, &value))
		return NULL;
	if (value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		bad_document("the document", psprintf("has a \"%s\" that is not an array", key));
	*n = (int) JsonContainerSize(value.val.binary.data);
	elements = palloc(Max(*n, 1) * sizeof(Element));
	for (int i = 0; i < *n; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(value.val.binary.data, i);

		elements[i].where = psprintf("%s[%d]", key, i);
		if (item == NULL || item->type != jbvBinary || !JsonContainerIsObject(item->val.binary.data))
			bad_document(elements[i].where, "is not an object");
		elements[i].object = item->val.binary.data;
	}
	return elements;
}

/* Arguments of one of the defining functions: all NULL to begin with. */
static void
begin_call(FunctionCallInfo call, FunctionCallInfo outer, int nargs, const char *model)
{
	InitFunctionCallInfoData(*call, outer->flinfo, nargs, InvalidOid, NULL, NULL);
	for (int i = 0; i < nargs; i++)
	{
		call->args[i].isnull = true;
		call->args[i].value = (Datum) 0;
	}
	call->args[0].isnull = false;
	call->args[0].value = CStringGetTextDatum(model);
}

static void
set_arg(FunctionCallInfo call, int argno, Datum value)
{
	call->args[argno].isnull = false;
	call->args[argno].value = value;
}

static void
set_text(FunctionCallInfo call, int argno, const char *value)
{
	if (value)
		set_arg(call, argno, CStringGetTextDatum(value));
}

static void
set_name(FunctionCallInfo call, int argno, const char *value)
{
	if (value)
		set_arg(call, argno, DirectFunctionCall1(namein, CStringGetDatum(value)));
}

static void
set_interval(FunctionCallInfo call, int argno, const char *value)
{
	if (value)
		set_arg(call, argno, DirectFunctionCall3(interval_in, CStringGetDatum(value),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
set_instant(FunctionCallInfo call, int argno, const char *value)
{
	if (value)
		set_arg(call, argno, DirectFunctionCall3(timestamptz_in, CStringGetDatum(value),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
set_number(FunctionCallInfo call, int argno, const Element *element, const char *key)
{
	double		number;

	if (get_number(element, key, &number))
		set_arg(call, argno, Float8GetDatum(number));
}

/* The table named by a key of the document, unless an argument says another. */
static Oid
get_relation(FunctionCallInfo fcinfo, int argno, const Element *document, const char *key, bool required)
{
	char	   *name;

	if (!PG_ARGISNULL(argno))
		return PG_GETARG_OID(argno);
	name = get_text(document, key, required, false);
	if (name == NULL)
		return InvalidOid;
	return DatumGetObjectId(DirectFunctionCall1(regclassin, CStringGetDatum(name)));
}

/* A model of this name with an empty draft: a new one, or the one that is there. */
static bool
prepare_model(FunctionCallInfo fcinfo, const Element *document, const char *name)
{
	LOCAL_FCINFO(call, 6);
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(name)};
	bool		exists;

	SPI_connect();
	ls_catalog_execute("SELECT 1 FROM leadscore.model WHERE model = $1", 1, types, values, NULL);
	exists = SPI_processed > 0;
	SPI_finish();
	if (exists)
	{
		LsModel    *model = ls_model_load(name, LS_DRAFT);

		ls_model_check_owner(model);
		ls_model_lock(name);
		if (model->leads != get_relation(fcinfo, 2, document, "leads", true) ||
			model->events != get_relation(fcinfo, 3, document, "events", false))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("model \"%s\" is about other tables than the document", name),
					 errhint("Give another name, or the tables: leads => '%s'.", ls_relation_name(model->leads))));
		ls_model_clear_draft(name);
	}
	else
	{
		Oid			events = get_relation(fcinfo, 3, document, "events", false);

		begin_call(call, fcinfo, 6, name);
		set_arg(call, 1, ObjectIdGetDatum(get_relation(fcinfo, 2, document, "leads", true)));
		if (OidIsValid(events))
		{
			set_arg(call, 2, ObjectIdGetDatum(events));
			set_name(call, 3, get_text(document, "event_lead", false, false));
			set_name(call, 4, get_text(document, "event_at", false, false));
		}
		set_name(call, 5, get_text(document, "lead_key", false, false));
		(void) leadscore_create_model(call);
	}
	return exists;
}

static void
import_components(FunctionCallInfo fcinfo, const Element *document, const char *model)
{
	static const char *const keys[] = {"component", "half_life", "lo", "hi", NULL};
	LOCAL_FCINFO(call, 5);
	int			n;
	Element    *elements = get_objects(document, "components", &n);

	for (int i = 0; i < n; i++)
	{
		check_keys(&elements[i], keys);
		begin_call(call, fcinfo, 5, model);
		set_text(call, 1, get_text(&elements[i], "component", true, false));
		set_interval(call, 2, get_text(&elements[i], "half_life", false, false));
		set_number(call, 3, &elements[i], "lo");
		set_number(call, 4, &elements[i], "hi");
		(void) leadscore_add_component(call);
	}
}

static void
import_rules(FunctionCallInfo fcinfo, const Element *document, const char *model)
{
	static const char *const keys[] = {"rule", "component", "source", "condition", "points", "at_most", "per",
	"valid_from", "valid_until", "enabled", NULL};
	LOCAL_FCINFO(call, 11);
	int			n;
	Element    *elements = get_objects(document, "rules", &n);

	for (int i = 0; i < n; i++)
	{
		const Element *rule = &elements[i];
		JsonbValue	value;
		double		at_most;

		check_keys(rule, keys);
		begin_call(call, fcinfo, 11, model);
		set_text(call, 1, get_text(rule, "component", true, false));
		set_text(call, 2, get_text(rule, "rule", true, false));
		set_text(call, 3, get_text(rule, "condition", true, false));
		set_text(call, 4, get_text(rule, "points", true, true));
		if (get_number(rule, "at_most", &at_most))
		{
			if (at_most != rint(at_most) || fabs(at_most) > INT_MAX)
				bad_document(rule->where, "has an \"at_most\" that is not a whole number");
			set_arg(call, 5, Int32GetDatum((int32) at_most));
		}
		set_interval(call, 6, get_text(rule, "per", false, false));
		set_text(call, 7, get_text(rule, "source", false, false));
		set_instant(call, 8, get_text(rule, "valid_from", false, false));
		set_instant(call, 9, get_text(rule, "valid_until", false, false));
		if (find_value(rule, "enabled", &value))
		{
			if (value.type != jbvBool)
				bad_document(rule->where, "has an \"enabled\" that is not true or false");
			set_arg(call, 10, BoolGetDatum(value.val.boolean));
		}
		(void) leadscore_add_rule(call);
	}
}

static void
import_bands(FunctionCallInfo fcinfo, const Element *document, const char *model)
{
	static const char *const keys[] = {"band", "least", NULL};
	LOCAL_FCINFO(call, 3);
	int			n;
	Element    *elements = get_objects(document, "bands", &n);

	for (int i = 0; i < n; i++)
	{
		check_keys(&elements[i], keys);
		begin_call(call, fcinfo, 3, model);
		set_text(call, 1, get_text(&elements[i], "band", true, false));
		set_number(call, 2, &elements[i], "least");
		(void) leadscore_add_band(call);
	}
}

Datum
leadscore_import_model(PG_FUNCTION_ARGS)
{
	static const char *const keys[] = {"leadscore_model", "model", "leads", "lead_key", "events", "event_lead", "event_at",
	"lo", "hi", "components", "rules", "bands", NULL};
	LOCAL_FCINFO(call, 3);
	Element		document = {NULL, "the document"};
	Jsonb	   *jsonb;
	char	   *name;
	double		format;
	bool		replaced;
	int			level;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the model document must not be null")));
	jsonb = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_OBJECT(jsonb))
		bad_document("the document", "is not an object");
	document.object = &jsonb->root;
	if (!get_number(&document, "leadscore_model", &format) || format != DOCUMENT_FORMAT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid model document: its format is not the one this version of leadscore reads"),
				 errhint("It must have \"leadscore_model\": %d.", DOCUMENT_FORMAT)));
	check_keys(&document, keys);
	name = PG_ARGISNULL(1) ? get_text(&document, "model", true, false) : text_to_cstring(PG_GETARG_TEXT_PP(1));

	/* names in the document are found as export_model wrote them: without a search_path */
	level = ls_portable_settings();
	replaced = prepare_model(fcinfo, &document, name);
	begin_call(call, fcinfo, 3, name);
	set_number(call, 1, &document, "lo");
	set_number(call, 2, &document, "hi");
	(void) leadscore_set_bounds(call);
	import_components(fcinfo, &document, name);
	import_rules(fcinfo, &document, name);
	import_bands(fcinfo, &document, name);
	AtEOXact_GUC(true, level);

	PG_RETURN_TEXT_P(cstring_to_text(psprintf(replaced ? "the draft of model \"%s\" was replaced; nothing is published yet" :
											  "model \"%s\" made; nothing is published yet", name)));
}

/*
 * columns.c
 *	  Which columns of a user's table mean what: the mapping that the user gives
 *	  as {"lead": "lead_id", ...}, the names tried where he gives none, quoting.
 */
#include "journey.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

/*
 * Read a mapping of these keys into columns[], in the order of the keys; what is
 * not in it stays as it is. "what" is the name of the argument.
 */
void
ls_read_mapping(Jsonb *mapping, const char *what, const char *const *keys, int nkeys, char **columns)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	int			key = -1;

	if (!JB_ROOT_IS_OBJECT(mapping))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a JSON object", what),
				 errhint("For example: {\"%s\": \"name_of_the_column\"}.", keys[0])));
	it = JsonbIteratorInit(&mapping->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			for (key = 0; key < nkeys; key++)
				if (strlen(keys[key]) == (size_t) v.val.string.len &&
					memcmp(keys[key], v.val.string.val, v.val.string.len) == 0)
					break;
			if (key == nkeys)
			{
				StringInfoData list;
				int			i;

				initStringInfo(&list);
				for (i = 0; i < nkeys; i++)
					appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", keys[i]);
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("\"%s\" is not a column that \"%s\" can name",
								pnstrdup(v.val.string.val, v.val.string.len), what),
						 errhint("It can name: %s.", list.data)));
			}
		}
		else if (token == WJB_VALUE && key >= 0)
		{
			if (v.type == jbvNull)
				columns[key] = NULL;
			else if (v.type == jbvString)
				columns[key] = pnstrdup(v.val.string.val, v.val.string.len);
			else
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("the name of the column for \"%s\" is not a string", keys[key])));
		}
	}
}

/* The first of these names (up to NULL) that the relation has, or NULL */
char *
ls_first_column(Oid relid, const char *const *names)
{
	for (; *names != NULL; names++)
		if (get_attnum(relid, *names) != InvalidAttrNumber)
			return pstrdup(*names);
	return NULL;
}

/* The column's name, quoted; an error if the relation has none of this name. */
const char *
ls_quoted_column(Oid relid, const char *name, const char *key)
{
	if (get_attnum(relid, name) == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name, get_rel_name(relid)),
				 errhint("Name the columns, for example '{\"%s\": \"...\"}'.", key)));
	return quote_identifier(name);
}

char *
ls_qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* An OID that is no relation's is an error of the user's, not of ours. */
void
ls_check_relation(Oid relid)
{
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
}

/*
 * compat.h
 *	  The only file that knows PG_VERSION_NUM. Include after postgres.h/fmgr.h.
 */
#ifndef LS_COMPAT_H
#define LS_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "leadscore needs PostgreSQL 15 or later"
#endif

/*
 * We build with -fvisibility=hidden so that only what PG_FUNCTION_INFO_V1
 * declares is exported; PostgreSQL 15 leaves PGDLLEXPORT empty on Unix.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))

/* and its PG_FUNCTION_INFO_V1 exports the info record but not the function */
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
	extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
	extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
	const Pg_finfo_record * \
	CppConcat(pg_finfo_,funcname) (void) \
	{ \
		static const Pg_finfo_record my_finfo = { 1 }; \
		return &my_finfo; \
	} \
	extern int no_such_variable
#endif

/* Soft errors arrived in 16: before, every input error is thrown. */
#if PG_VERSION_NUM < 160000
#define ereturn(context, dummy_value, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#endif

/* ownership checks got one function for all kinds of objects in 16 */
#if PG_VERSION_NUM < 160000
#define ls_owns_relation(relid, role) pg_class_ownercheck(relid, role)
#else
#define ls_owns_relation(relid, role) object_ownercheck(RelationRelationId, relid, role)
#endif

/* 18 wants to be told that a deferrable primary key will do */
#if PG_VERSION_NUM < 180000
#define RelationGetPrimaryKeyIndex_compat(rel) RelationGetPrimaryKeyIndex(rel)
#else
#define RelationGetPrimaryKeyIndex_compat(rel) RelationGetPrimaryKeyIndex(rel, true)
#endif

#endif							/* LS_COMPAT_H */

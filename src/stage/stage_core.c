/*
 * stage_core.c
 *	  Names and synonyms of the lifecycle stages. Knows no server.
 */
#include "stage/stage_core.h"

#include <string.h>

typedef struct StageName
{
	const char *name;
	uint8_t		code;
} StageName;

/*
 * All accepted spellings, folded as fold() does it. The first of each code is
 * the canonical one. Only words that mean the same thing are here: a "sales
 * accepted lead" or a "subscriber" is a stage of its own elsewhere, and is
 * refused rather than bent.
 */
static const StageName names[] = {
	{"lead", STAGE_LEAD},
	{"new", STAGE_LEAD},
	{"new lead", STAGE_LEAD},
	{"raw lead", STAGE_LEAD},
	{"inquiry", STAGE_LEAD},
	{"enquiry", STAGE_LEAD},
	{"suspect", STAGE_LEAD},
	{"piste", STAGE_LEAD},

	{"mql", STAGE_MQL},
	{"marketing qualified", STAGE_MQL},
	{"marketing qualified lead", STAGE_MQL},
	{"lead qualifie marketing", STAGE_MQL},

	{"sql", STAGE_SQL},
	{"sales qualified", STAGE_SQL},
	{"sales qualified lead", STAGE_SQL},
	{"lead qualifie commercial", STAGE_SQL},
	{"lead qualifie ventes", STAGE_SQL},

	{"prospect", STAGE_PROSPECT},
	{"opportunity", STAGE_PROSPECT},
	{"opportunite", STAGE_PROSPECT},

	{"client", STAGE_CLIENT},
	{"customer", STAGE_CLIENT},
	{"won", STAGE_CLIENT},
	{"closed won", STAGE_CLIENT},
	{"gagne", STAGE_CLIENT},

	{"lost", STAGE_LOST},
	{"closed lost", STAGE_LOST},
	{"perdu", STAGE_LOST},

	{"disqualified", STAGE_DISQUALIFIED},
	{"unqualified", STAGE_DISQUALIFIED},
	{"disqualifie", STAGE_DISQUALIFIED},
	{"non qualifie", STAGE_DISQUALIFIED},
};

#define N_NAMES ((int) (sizeof(names) / sizeof(names[0])))

/* longer than any entry of names[], with room for the closing zero */
#define FOLDED_SIZE 32

const char *
ls_stage_name(uint8_t code)
{
	for (int i = 0; i < N_NAMES; i++)
	{
		if (names[i].code == code)
			return names[i].name;
	}
	return NULL;
}

static bool
is_blank(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/*
 * The letter e with an acute accent at text[0..left): returns the number of
 * bytes it takes, 0 if it is not there.
 */
static size_t
accented_e(const unsigned char *text, size_t left, bool utf8)
{
	if (!utf8)
		return (text[0] == 0xE9 || text[0] == 0xC9) ? 1 : 0;
	if (left >= 2 && text[0] == 0xC3 && (text[1] == 0xA9 || text[1] == 0x89))
		return 2;
	/* decomposed: the letter, then U+0301 */
	if (left >= 3 && (text[0] == 'e' || text[0] == 'E') &&
		text[1] == 0xCC && text[2] == 0x81)
		return 3;
	return 0;
}

/*
 * Folds into out (FOLDED_SIZE bytes): lower case, one blank between words. False
 * if the text holds what no name does, or is longer than all of them.
 */
static bool
fold(const unsigned char *text, size_t len, bool utf8, char *out)
{
	size_t		n = 0;
	bool		gap = false;

	while (len > 0 && is_blank(text[0]))
		text++, len--;
	while (len > 0 && is_blank(text[len - 1]))
		len--;

	while (len > 0)
	{
		size_t		used = accented_e(text, len, utf8);
		unsigned char c = used > 0 ? 'e' : text[0];

		if (used == 0)
			used = 1;
		text += used;
		len -= used;

		if (is_blank(c) || c == '-' || c == '_')
		{
			gap = true;
			continue;
		}
		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c < 'a' || c > 'z' || n + 2 >= FOLDED_SIZE)
			return false;
		if (gap)
		{
			if (n == 0)
				return false;	/* a leading "-" is no blank */
			out[n++] = ' ';
			gap = false;
		}
		out[n++] = (char) c;
	}
	if (gap)
		return false;			/* a trailing one neither */
	out[n] = '\0';
	return true;
}

bool
ls_stage_parse(const char *text, size_t len, bool utf8, uint8_t *code)
{
	char		folded[FOLDED_SIZE];

	if (!fold((const unsigned char *) text, len, utf8, folded))
		return false;
	for (int i = 0; i < N_NAMES; i++)
	{
		if (strcmp(names[i].name, folded) == 0)
		{
			*code = names[i].code;
			return true;
		}
	}
	return false;
}

#include "conf/utf8.h"

// The lead bytes of RFC 3629 section 4 and the least code point their length may carry.
static const struct lead {
	unsigned char mask, bits;
	unsigned char more;
	int32_t least;
} leads[] = {
        {0x80, 0x00, 0, 0},
        {0xE0, 0xC0, 1, 0x80},
        {0xF0, 0xE0, 2, 0x800},
        {0xF8, 0xF0, 3, 0x10000},
};

int32_t utf8_take(struct str *text)
{
	unsigned char first = (unsigned char)text->at[0];
	const struct lead *lead = NULL;
	for (size_t i = 0; i < ARRAY_LEN(leads) && !lead; i++)
		if ((first & leads[i].mask) == leads[i].bits)
			lead = &leads[i];
	if (!lead || text->len <= lead->more)
		return -1;
	int32_t character = first & (unsigned char)~lead->mask;
	for (size_t i = 1; i <= lead->more; i++) {
		unsigned char byte = (unsigned char)text->at[i];
		if ((byte & 0xC0) != 0x80)
			return -1;
		character = character << 6 | (byte & 0x3F);
	}
	if (character < lead->least || character > 0x10FFFF ||
	        (character >= 0xD800 && character <= 0xDFFF))
		return -1;
	*text = str_skip(*text, lead->more + 1u);
	return character;
}

static bool printable(int32_t character)
{
	if (character < 0x20)
		return character == '\t' || character == '\n' || character == '\r';
	// DEL, the C1 controls, and the byte order mark in the middle of a text. U+0085, U+2028 and
	// U+2029 end a line for YAML and for no editor: the places named would be wrong.
	if ((character >= 0x7F && character < 0xA0) || character == 0x2028 || character == 0x2029)
		return false;
	return character != 0xFEFF && character != 0xFFFE && character != 0xFFFF;
}

bool utf8_printable(struct str text, struct utf8_fault *fault)
{
	struct config_mark mark = {1, 1};
	bool after_return = false;
	while (text.len) {
		unsigned char byte = (unsigned char)text.at[0];
		int32_t character = utf8_take(&text);
		if (character < 0 || !printable(character)) {
			*fault = (struct utf8_fault){
			        mark, character < 0, character < 0 ? byte : (uint32_t)character};
			return false;
		}
		mark.column++;
		if (character == '\r' || (character == '\n' && !after_return))
			mark.line++;
		if (character == '\r' || character == '\n')
			mark.column = 1;
		after_return = character == '\r';
	}
	return true;
}

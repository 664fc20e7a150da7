#include <ctype.h>

#include "conf/reader.h"
#include "conf/type.h"
#include "conf/value.h"

enum { NAME_BYTES_MAX = 128, VALUE_BYTES_MAX = 4 << 10, SHOWN_MAX = 64 };

// A colon in front is let pass: check_headers.c has more to say of pseudo-header fields.
static bool set_field_name(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct str text = node->text;
	for (size_t i = text.len > 1 && text.at[0] == ':'; i < text.len; i++)
		if (!isalnum((unsigned char)text.at[i]) &&
		        !memchr("!#$%&'*+-.^_`|~", text.at[i], 15))
			return reader_refuse(reader, key, node);
	if (!type_set_text(reader, key, node, field))
		return false;
	struct config_text *name = field;
	name->text = arena_lower(&reader->config->arena, name->text);
	return true;
}

const struct schema_type type_field_name = {.name = "header name",
        .expected = "the name of a header field such as x-tenant",
        .set = set_field_name,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = NAME_BYTES_MAX};

static bool find_placeholder(struct str word, enum config_placeholder *placeholder)
{
	static const struct str words[] = {
	        [PLACEHOLDER_IDENTITY] = {"%{identity}", 11},
	        [PLACEHOLDER_ROUTE] = {"%{route}", 8},
	        [PLACEHOLDER_REQUEST_ID] = {"%{request_id}", 13},
	};
	for (size_t i = PLACEHOLDER_NONE + 1; i < ARRAY_LEN(words); i++)
		if (str_eq(word, words[i])) {
			*placeholder = (enum config_placeholder)i;
			return true;
		}
	return false;
}

// Takes a part off the front of *rest; false where a placeholder is none: it is in `part->text`.
static bool next_part(struct str *rest, struct config_value_part *part)
{
	size_t len = 1;
	*part = (struct config_value_part){.placeholder = PLACEHOLDER_NONE};
	if (str_starts(*rest, STR("%%{"))) {
		*rest = str_skip(*rest, 1);
		len = strlen("%{");
	} else if (str_starts(*rest, STR("%{"))) {
		const char *close = str_find_byte(*rest, '}');
		len = close ? (size_t)(close - rest->at) + 1 : rest->len;
		part->text = str_of(rest->at, len);
		if (!find_placeholder(part->text, &part->placeholder))
			return false;
	} else {
		while (len < rest->len && rest->at[len] != '%')
			len++;
	}
	part->text = str_of(rest->at, len);
	*rest = str_skip(*rest, len);
	return true;
}

static bool value_usable(const struct schema_key *key, struct str text)
{
	return type_fits(key, text) && text.at[0] != ' ' && text.at[text.len - 1] != ' ';
}

static bool set_field_value(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	// What was found stays unsaid: it may be a secret, and messages end up in logs.
	if (!value_usable(key, node->text)) {
		reader_problem(reader, node->mark, "found no usable value, expected %s",
		        key->type->expected);
		return false;
	}
	struct arena *arena = &reader->config->arena;
	struct config_value value = {.text = arena_str(arena, node->text)};
	struct str rest = value.text;
	value.parts = arena_alloc(arena, rest.len * sizeof(*value.parts));
	while (rest.len) {
		struct config_value_part *part = &value.parts[value.part_count++];
		if (next_part(&rest, part))
			continue;
		bool whole = str_ends(part->text, STR("}")) && part->text.len <= SHOWN_MAX;
		reader_problem(reader, node->mark,
		        "holds %s, which is no placeholder; expected %%{identity}, %%{route} or "
		        "%%{request_id}, or %%%%{ where the text shall be %%{",
		        whole ? value_quote(part->text).text : "a %{ without its }");
		return false;
	}
	*(struct config_value *)field = value;
	return true;
}

static void write_field_value(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(((const struct config_value *)field)->text, out);
}

static bool field_value_given(const void *field)
{
	return ((const struct config_value *)field)->text.len > 0;
}

const struct schema_type type_field_value = {.name = "header value",
        .expected = "a text of at most 4KiB without control characters, and without a space at "
                    "either end",
        .set = set_field_value,
        .write = write_field_value,
        .given = field_value_given,
        .bytes_max = VALUE_BYTES_MAX};

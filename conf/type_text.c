#include <ctype.h>
#include <limits.h>

#include "conf/address.h"
#include "conf/reader.h"
#include "conf/type.h"
#include "conf/value.h"

enum {
	NAME_BYTES_MAX = 64,
	PATTERN_BYTES_MAX = 2048,  // as long as a SPIFFE ID may be
	BODY_BYTES_MAX = 64 << 10,
	PASSWORD_BYTES_MAX = 1024,
};

static bool has_control(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7F)
			return true;
	return false;
}

bool type_fits(const struct schema_key *key, struct str text)
{
	return text.len > 0 && text.len <= key->type->bytes_max && !has_control(text);
}

void type_write_text(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(((const struct config_text *)field)->text, out);
}

bool type_text_given(const void *field)
{
	return ((const struct config_text *)field)->text.len > 0;
}

// Text that a later stage takes apart: only its outside is looked at here.
bool type_set_text(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (!type_fits(key, node->text))
		return reader_refuse(reader, key, node);
	*(struct config_text *)field = (struct config_text){
	        arena_str(&reader->config->arena, node->text), node->mark};
	return true;
}

const struct schema_type type_pattern = {.name = "SPIFFE pattern",
        .expected = "a pattern such as spiffe://cluster.local/ns/web/*",
        .set = type_set_text,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = PATTERN_BYTES_MAX};

const struct schema_type type_endpoint = {.name = "address",
        .expected = "an address such as " ADDRESS_NAME_EXAMPLES,
        .set = type_set_text,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = PATH_MAX - 1};

static bool set_name(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	for (size_t i = 0; i < node->text.len; i++)
		if (!isalnum((unsigned char)node->text.at[i]) &&
		        !memchr("._-", node->text.at[i], 3))
			return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

const struct schema_type type_name = {.name = "name",
        .expected = "a name of at most 64 letters, digits, dots, dashes and underscores",
        .set = set_name,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = NAME_BYTES_MAX};

static struct str absolute(struct reader *reader, struct str path)
{
	struct arena *arena = &reader->config->arena;
	if (path.at[0] == '/')
		return arena_str(arena, path);
	return arena_printf(arena, "%.*s/%.*s", STR_FMT(reader->directory), STR_FMT(path));
}

static bool set_file(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (!type_fits(key, node->text))
		return reader_refuse(reader, key, node);
	*(struct config_text *)field = (struct config_text){
	        absolute(reader, node->text), node->mark};
	return true;
}

const struct schema_type type_file = {.name = "file",
        .expected = "a file name, absolute or relative to the config file",
        .set = set_file,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = PATH_MAX - 1};

static bool set_output(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_output *output = field;
	if (!type_fits(key, node->text))
		return reader_refuse(reader, key, node);
	if (str_eq(node->text, STR("stdout")))
		*output = (struct config_output){OUTPUT_STDOUT, STR("stdout"), node->mark};
	else if (str_eq(node->text, STR("stderr")))
		*output = (struct config_output){OUTPUT_STDERR, STR("stderr"), node->mark};
	else
		*output = (struct config_output){
		        OUTPUT_FILE, absolute(reader, node->text), node->mark};
	return true;
}

static void write_output(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(((const struct config_output *)field)->path, out);
}

static bool output_given(const void *field)
{
	return ((const struct config_output *)field)->kind != OUTPUT_OFF;
}

const struct schema_type type_output = {.name = "file, `stdout` or `stderr`",
        .expected = "stdout, stderr or a file name",
        .set = set_output,
        .write = write_output,
        .given = output_given,
        .bytes_max = PATH_MAX - 1};

static bool set_body(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (node->text.len > key->type->bytes_max)
		return reader_refuse(reader, key, node);
	*(struct str *)field = arena_str(&reader->config->arena, node->text);
	return true;
}

static void write_body(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(*(const struct str *)field, out);
}

static bool body_given(const void *field)
{
	return ((const struct str *)field)->len > 0;
}

const struct schema_type type_body = {.name = "text",
        .expected = "a text of at most 64KiB",
        .set = set_body,
        .write = write_body,
        .given = body_given,
        .bytes_max = BODY_BYTES_MAX};

static bool set_password(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (type_fits(key, node->text))
		return set_body(reader, key, node, field);
	// What was found stays unsaid: messages end up in logs.
	reader_problem(
	        reader, node->mark, "found no usable password, expected %s", key->type->expected);
	return false;
}

const struct schema_type type_password = {.name = "text",
        .expected = "a password without control characters",
        .set = set_password,
        .write = write_body,
        .given = body_given,
        .bytes_max = PASSWORD_BYTES_MAX};

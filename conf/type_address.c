#include <limits.h>

#include "conf/address.h"
#include "conf/reader.h"
#include "conf/type.h"
#include "conf/value.h"

static bool set_address(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_address *address = field;
	const char *why;
	if (!type_fits(key, node->text))
		return reader_refuse(reader, key, node);
	if (address_parse(node->text, reader->directory, &reader->config->arena, address, &why)) {
		address->mark = node->mark;
		return true;
	}
	*address = (struct config_address){0};
	reader_problem(reader, node->mark, "found %s, %s; expected %s",
	        value_quote(node->text).text, why, key->type->expected);
	return false;
}

// Of a server that nobody looks up again a reload takes the address anew; where nobody tells it,
// the one in force goes on to hold.
static bool is_known(struct reader *reader, const struct tree *node, struct config_address *address)
{
	const struct config *present = reader_present(reader);
	if (!present || !str_eq(present->redis.address.text, node->text))
		return false;
	*address = present->redis.address;
	address->text = arena_str(&reader->config->arena, node->text);
	return true;
}

static bool set_server(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_address *address = field, *addresses;
	size_t count;
	const char *why;
	if (!type_fits(key, node->text))
		return reader_refuse(reader, key, node);
	bool found = address_resolve(node->text, reader->directory, reader_dns(reader),
	        &reader->config->arena, &addresses, &count, &why);
	if (found && addresses[0].unknown && !reader->offline && !reader->no_dns) {
		found = false;
		why = "whose name was not asked for, as DNS is silent";
	}
	if (found)
		*address = addresses[0];
	if (found || is_known(reader, node, address)) {
		address->mark = node->mark;
		return true;
	}
	reader_problem(reader, node->mark, "found %s, %s; expected %s",
	        value_quote(node->text).text, why, key->type->expected);
	return false;
}

static void write_address(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(((const struct config_address *)field)->text, out);
}

static bool address_given(const void *field)
{
	return ((const struct config_address *)field)->kind != ADDRESS_NONE;
}

const struct schema_type type_address = {.name = "address",
        .expected = "an address such as " ADDRESS_EXAMPLES,
        .set = set_address,
        .write = write_address,
        .given = address_given,
        .bytes_max = PATH_MAX - 1};

const struct schema_type type_server = {.name = "address",
        .expected = "an address such as " ADDRESS_NAME_EXAMPLES,
        .set = set_server,
        .write = write_address,
        .given = address_given,
        .bytes_max = PATH_MAX - 1};

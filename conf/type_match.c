#include <ctype.h>

#include "conf/reader.h"
#include "conf/type.h"
#include "conf/value.h"

enum { MATCH_BYTES_MAX = 2048, TOKEN_BYTES_MAX = 256, HOST_BYTES_MAX = 255 };

// tchar of RFC 9110 section 5.6.2: what methods and field names are made of.
static bool is_token(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!isalnum((unsigned char)text.at[i]) &&
		        !memchr("!#$%&'*+-.^_`|~", text.at[i], 15))
			return false;
	return text.len > 0;
}

static bool set_grpc(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_route *route = field;
	if (!type_set_text(reader, key, node, &route->pattern))
		return false;
	route->kind = MATCH_GRPC;
	return true;
}

static bool set_path(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_route *route = field;
	if (!type_set_text(reader, key, node, &route->pattern))
		return false;
	route->kind = MATCH_PATH;
	return true;
}

static void write_match(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(((const struct config_route *)field)->pattern.text, out);
}

static bool grpc_given(const void *field)
{
	const struct config_route *route = field;
	return route->kind == MATCH_GRPC && route->pattern.text.len;
}

static bool path_given(const void *field)
{
	const struct config_route *route = field;
	return route->kind == MATCH_PATH && route->pattern.text.len;
}

const struct schema_type type_grpc = {.name = "gRPC pattern",
        .expected = "a gRPC method such as user.UserService/Login, user.UserService/*, user.*/* "
                    "or \"*\"",
        .set = set_grpc,
        .write = write_match,
        .given = grpc_given,
        .bytes_max = MATCH_BYTES_MAX};

const struct schema_type type_path = {.name = "path pattern",
        .expected = "a path such as /healthz or /api/*",
        .set = set_path,
        .write = write_match,
        .given = path_given,
        .bytes_max = MATCH_BYTES_MAX};

// Methods are case-sensitive (RFC 9110 section 9.1): `get` would wait for a request that nobody
// sends, and CONNECT is refused before any route is looked at.
static bool set_method(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	static const char *const usual[] = {
	        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"};
	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		if (str_eq_nocase(node->text, str_from(usual[i])) &&
		        !str_eq(node->text, str_from(usual[i]))) {
			reader_problem(reader, node->mark,
			        "found %s, expected %s: methods are case-sensitive",
			        value_quote(node->text).text, usual[i]);
			return false;
		}
	if (is_token(node->text) && !str_eq_nocase(node->text, STR("CONNECT")))
		return type_set_text(reader, key, node, field);
	return reader_refuse(reader, key, node);
}

const struct schema_type type_method = {.name = "HTTP method",
        .expected = "an HTTP method other than CONNECT, such as GET",
        .set = set_method,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = TOKEN_BYTES_MAX};

static bool is_host(struct str text)
{
	bool bracketed = text.len > 2 && text.at[0] == '[' && text.at[text.len - 1] == ']';
	struct str name = bracketed ? str_of(text.at + 1, text.len - 2) : text;
	size_t label = 0;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.at[i];
		if (bracketed ? !isxdigit(c) && c != ':' && c != '.'
		              : !isalnum(c) && c != '-' && c != '_' && (c != '.' || !label))
			return false;
		label = c == '.' ? 0 : label + 1;
	}
	return label > 0;
}

static bool set_host(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (!type_fits(key, node->text) || !is_host(node->text))
		return reader_refuse(reader, key, node);
	*(struct config_text *)field = (struct config_text){
	        arena_lower(&reader->config->arena, node->text), node->mark};
	return true;
}

const struct schema_type type_host = {.name = "host",
        .expected = "a host such as api.example.com or [::1], without port or wildcard",
        .set = set_host,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = HOST_BYTES_MAX};

static bool set_per(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct str text = node->text;
	bool known = str_eq(text, STR("identity")) || str_eq(text, STR("method")) ||
	             str_eq(text, STR("source_ip"));
	if (str_starts(text, STR("header:")))
		known = is_token(str_skip(text, strlen("header:")));
	if (!known || !type_fits(key, text))
		return reader_refuse(reader, key, node);
	*(struct config_text *)field = (struct config_text){
	        arena_lower(&reader->config->arena, text), node->mark};
	return true;
}

const struct schema_type type_per = {.name = "key",
        .expected = "identity, method, source_ip or header: followed by a header's name",
        .set = set_per,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = TOKEN_BYTES_MAX};

static bool set_upgrade(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (!str_eq(node->text, STR("websocket")))
		return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

const struct schema_type type_upgrade = {.name = "protocol",
        .expected = "websocket",
        .set = set_upgrade,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = TOKEN_BYTES_MAX};

const struct schema_type type_target_path = {.name = "path",
        .expected = "a path such as /v2",
        .set = type_set_text,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = MATCH_BYTES_MAX};

const struct schema_type type_authority = {.name = "host, perhaps with a port",
        .expected = "a host such as api.example.com or api.example.com:8443",
        .set = type_set_text,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = HOST_BYTES_MAX};

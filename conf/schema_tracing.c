#include <ctype.h>
#include <stdlib.h>

#include "conf/reader.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum { HEADERS_MAX = 32, URL_BYTES_MAX = 2048, NAME_BYTES_MAX = 128, RATIO_BYTES_MAX = 32 };

// host, host:port or [address]:port, into what it is made of.
static bool take_authority(struct str *rest, struct arena *arena, struct config_url *url)
{
	bool bracketed = rest->len && rest->at[0] == '[';
	size_t host = 0;
	if (bracketed)
		*rest = str_skip(*rest, 1);
	while (host < rest->len &&
	        (isalnum((unsigned char)rest->at[host]) || memchr(".-_", rest->at[host], 3) ||
	                (bracketed && rest->at[host] == ':')))
		host++;
	url->host = arena_str(arena, str_of(rest->at, host));
	*rest = str_skip(*rest, host);
	if (bracketed && (!rest->len || rest->at[0] != ']'))
		return false;
	if (bracketed)
		*rest = str_skip(*rest, 1);
	if (!host || !rest->len || rest->at[0] != ':')
		return host > 0;
	size_t port = 1;
	while (port < rest->len && isdigit((unsigned char)rest->at[port]))
		port++;
	uint64_t number;
	if (!str_to_u64(str_of(rest->at + 1, port - 1), UINT16_MAX, &number) || number == 0)
		return false;
	url->port = (uint16_t)number;
	*rest = str_skip(*rest, port);
	return true;
}

static bool parse_url(struct str text, struct arena *arena, struct config_url *url)
{
	url->https = str_starts(text, STR("https://"));
	if (!url->https && !str_starts(text, STR("http://")))
		return false;
	struct str rest = str_skip(text, url->https ? strlen("https://") : strlen("http://"));
	url->port = url->https ? 443 : 80;
	if (!take_authority(&rest, arena, url) || !rest.len || rest.at[0] != '/')
		return false;
	for (size_t i = 0; i < rest.len; i++)
		if (rest.at[i] <= ' ' || rest.at[i] >= 0x7F || rest.at[i] == '#')
			return false;
	url->text = arena_str(arena, text);
	return true;
}

static bool set_url(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_url url = {.mark = node->mark};
	if (!type_fits(key, node->text) || !parse_url(node->text, &reader->config->arena, &url))
		return reader_refuse(reader, key, node);
	*(struct config_url *)field = url;
	return true;
}

static void write_url(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(((const struct config_url *)field)->text, out);
}

static bool url_given(const void *field)
{
	return ((const struct config_url *)field)->text.len > 0;
}

static const struct schema_type type_url = {.name = "URL",
        .expected = "a URL such as http://127.0.0.1:4318/v1/traces, with its path",
        .set = set_url,
        .write = write_url,
        .given = url_given,
        .bytes_max = URL_BYTES_MAX};

static bool set_ratio(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	char *end;
	if (!type_fits(key, node->text) || !isdigit((unsigned char)node->text.at[0]) ||
	        strspn(node->text.at, "0123456789.") != node->text.len)
		return reader_refuse(reader, key, node);
	double ratio = strtod(node->text.at, &end);
	if (*end || !(ratio <= 1))
		return reader_refuse(reader, key, node);
	*(double *)field = ratio;
	return true;
}

static void write_ratio(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	buffer_printf(out, "%.15f", *(const double *)field);
	while (buffer_len(out) > 1 && buffer_data(out)[buffer_len(out) - 1] == '0')
		buffer_cut(out, buffer_len(out) - 1);
	if (buffer_data(out)[buffer_len(out) - 1] == '.')
		buffer_cut(out, buffer_len(out) - 1);
}

const struct schema_type type_ratio = {.name = "ratio",
        .expected = "a number from 0 to 1 such as 0.05",
        .set = set_ratio,
        .write = write_ratio,
        .bytes_max = RATIO_BYTES_MAX};

static bool set_header_name(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	for (size_t i = 0; i < node->text.len; i++)
		if (!isalnum((unsigned char)node->text.at[i]) &&
		        !memchr("!#$%&'*+-.^_`|~", node->text.at[i], 15))
			return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

static const struct schema_type type_header_name = {.name = "header name",
        .expected = "the name of a header field such as authorization",
        .set = set_header_name,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = NAME_BYTES_MAX};

static void check_header(struct reader *reader, const struct tree *node, void *base)
{
	static const char *const ours[] = {"content-type", "content-length", "content-encoding",
	        "transfer-encoding", "host", "connection", "expect"};
	const struct config_header *header = base;
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (str_eq_nocase(header->name.text, str_from(ours[i])))
			reader_problem_at(reader, node, "name",
			        "found %s, which the gateway sets itself; expected another",
			        value_quote(header->name.text).text);
}

static const struct schema_key header_keys[] = {
        {"name", .presence = PRESENCE_REQUIRED, TYPE(type_header_name), AT(config_header, name),
                DOC("The field's name.")},
        {"value", .presence = PRESENCE_REQUIRED, .secret = true, TYPE(type_password),
                AT(config_header, value), DOC("Its value.")},
};

static const struct schema_object schema_header = {DOC("A header field for the collector."),
        .size = sizeof(struct config_header), KEYS(header_keys), .check = check_header};

static bool shown_tracing(const void *base)
{
	return ((const struct config_tracing *)base)->endpoint.text.len > 0;
}

static void check_tracing(struct reader *reader, const struct tree *node, void *base)
{
	struct config_tracing *tracing = base;
	tracing->mark = node->mark;
	if (tracing->endpoint.https && !tree_get(node, "trusted_ca"))
		reader_problem(reader, node->mark,
		        "has an https endpoint; expected trusted_ca beside it: the system's store "
		        "is never trusted");
	if (tracing->endpoint.text.len && !tracing->endpoint.https && tree_get(node, "trusted_ca"))
		reader_problem_at(reader, node, "trusted_ca",
		        "can have no effect beside an http endpoint; expected it left out");
	if (tracing->batch > tracing->queue)
		reader_problem_at(reader, node, "batch",
		        "is more than the queue ever holds; expected at most %llu",
		        (unsigned long long)tracing->queue);
}

static const struct schema_key tracing_keys[] = {
        {"endpoint", .presence = PRESENCE_REQUIRED, TYPE(type_url), AT(config_tracing, endpoint),
                DOC("The collector's address for traces over OTLP/HTTP, in full.")},
        {"sample", TYPE(type_ratio), AT(config_tracing, sample), .fallback = "1",
                .shown = shown_tracing,
                DOC("Of the traces that begin here, how many are recorded, from 0 to 1. A caller's "
                    "own `sampled` flag is followed either way.")},
        {"service_name", TYPE(type_name), AT(config_tracing, service_name), .fallback = "tollgate",
                .shown = shown_tracing, DOC("What the gateway is called: `service.name`.")},
        {"headers", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL, OBJECT(schema_header),
                AT(config_tracing, headers), COUNT_AT(config_tracing, header_count),
                RANGE(1, HEADERS_MAX), DOC("Sent with every export, such as `authorization`.")},
        {"trusted_ca", .presence = PRESENCE_OPTIONAL, TYPE(type_file),
                AT(config_tracing, trusted_ca),
                DOC("PEM file: the roots that an https collector is held against; required for "
                    "one.")},
        {"timeout", TYPE(type_duration), AT(config_tracing, timeout_ns),
                RANGE(UINT64_C(1000000), UINT64_C(60000000000)), .fallback = "10s",
                .shown = shown_tracing,
                DOC("One export, from the connection to the end of the answer.")},
        {"queue", TYPE(type_count), AT(config_tracing, queue), RANGE(1, 1000000),
                .fallback = "2048", .shown = shown_tracing,
                DOC("Spans that wait for the collector, of all workers together; further ones are "
                    "dropped and counted. Each takes about 1 KiB, and at most 12.")},
        {"batch", TYPE(type_count), AT(config_tracing, batch), RANGE(1, 10000), .fallback = "512",
                .shown = shown_tracing, DOC("Spans in one export; fewer leave after a second.")},
};

const struct schema_object schema_tracing = {
        DOC("Spans of requests, exported in batches over OTLP/HTTP (protobuf); off unless given. "
            "Takes libcurl, which is loaded at the start. "
            "Turning it on or off needs a restart; everything else is live. A collector that is "
            "down, slow or hanging costs requests nothing."),
        .size = sizeof(struct config_tracing), KEYS(tracing_keys), .check = check_tracing};

#include "gateway/http/h1_head.h"

#include <llhttp.h>

#define XSTRING(x) #x
#define STRING(x) XSTRING(x)

const char *h1_library_version(void)
{
	return STRING(LLHTTP_VERSION_MAJOR) "." STRING(LLHTTP_VERSION_MINOR) "." STRING(
	        LLHTTP_VERSION_PATCH);
}

struct reader {
	struct arena *arena;
	struct fields *fields;
	struct str name;
};

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
	struct reader *reader = parser->data;
	reader->name = str_of(at, len);
	return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
	struct reader *reader = parser->data;
	if (reader->name.len == 0 && len == 0)
		return 0;
	fields_add(reader->fields, reader->arena, reader->name, str_of(at, len));
	reader->name = STR("");
	return 0;
}

// llhttp gives no value event for an empty value in every version; a name still pending here had
// none.
static int on_value_complete(llhttp_t *parser)
{
	struct reader *reader = parser->data;
	if (reader->name.len)
		fields_add(reader->fields, reader->arena, reader->name, STR(""));
	reader->name = STR("");
	return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
	(void)parser;
	return 1;  // the body is ours (h1_body.c): llhttp only ever sees heads
}

static const llhttp_settings_t settings = {
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_header_value_complete = on_value_complete,
        .on_headers_complete = on_headers_complete,
};

static const char *read_block(
        struct str block, llhttp_type_t type, struct reader *reader, llhttp_t *parser)
{
	llhttp_init(parser, type, &settings);
	parser->data = reader;
	llhttp_errno_t error = llhttp_execute(parser, block.at, block.len);
	if (error == HPE_OK || error == HPE_PAUSED_UPGRADE)
		return NULL;
	const char *words = llhttp_get_error_reason(parser);
	return words && *words ? words : llhttp_errno_name(error);
}

static const char *fields_fault(struct fields *fields, struct arena *arena)
{
	for (size_t i = 0; i < fields->count; i++) {
		struct field *field = &fields->items[i];
		if (!field_name_valid(field->name))
			return "a field name that is no token";
		field->name = arena_lower(arena, field->name);
		field->value = str_trim(field->value);
		if (!field_value_valid(field->value))
			return "a control byte in a field value";
	}
	return NULL;
}

// The framing fields, read by the letter (RFC 9112, 6.3). Both at once, lists, repeats and anything
// but `chunked` are refused: each is a message that two readers may end at two places.
static const char *framing_fault(struct h1_head *parsed)
{
	bool has_length = false, has_coding = false;
	uint64_t length = 0;
	for (size_t i = 0; i < parsed->head.fields.count; i++) {
		const struct field *field = &parsed->head.fields.items[i];
		if (str_eq(field->name, STR("content-length"))) {
			if (has_length)
				return "Content-Length repeated";
			if (!str_to_u64(field->value, INT64_MAX, &length))
				return "Content-Length is not a number";
			has_length = true;
		} else if (str_eq(field->name, STR("transfer-encoding"))) {
			if (has_coding)
				return "Transfer-Encoding repeated";
			if (!str_eq_nocase(field->value, STR("chunked")))
				return "Transfer-Encoding is not chunked";
			has_coding = true;
		}
	}
	if (has_length && has_coding)
		return "both Content-Length and Transfer-Encoding";
	if (has_coding && parsed->http_1_0)
		return "Transfer-Encoding in HTTP/1.0";
	parsed->framing = has_coding ? H1_CHUNKED : has_length ? H1_LENGTH : H1_NO_BODY;
	parsed->head.content_length = has_length ? (int64_t)length : -1;
	return NULL;
}

// What `Connection` may name without taking it away: who the request is for and who sent it is not
// the client's to drop.
static bool survives_nomination(struct str name)
{
	return str_eq(name, STR("host")) || str_starts(name, STR("x-forwarded-")) ||
	       str_starts(name, STR(":")) || str_eq(name, STR("content-length")) ||
	       str_eq(name, STR("transfer-encoding"));
}

// Takes the fields of this hop out (RFC 9110, 7.6.1) and learns from them whether the connection
// stays. Each option is looked for among all fields, so there may be no more of the one than of the
// other: false.
static bool strip_hop(struct h1_head *parsed, const struct h1_limits *limits, struct arena *arena)
{
	struct fields *fields = &parsed->head.fields;
	struct str options = fields_joined(fields, STR("connection"), arena);
	struct str upgrade = fields_joined(fields, STR("upgrade"), arena), option;
	bool close = false, keep = false, upgrades = false;
	for (size_t count = 0; str_next_element(&options, &option); count++) {
		if (count == limits->fields)
			return false;
		struct str name = arena_lower(arena, option);
		close |= str_eq(name, STR("close"));
		keep |= str_eq(name, STR("keep-alive"));
		upgrades |= str_eq(name, STR("upgrade"));
		if (!survives_nomination(name))
			fields_remove(fields, name);
	}
	size_t kept = 0;
	for (size_t i = 0; i < fields->count; i++)
		if (!field_is_hop_by_hop(fields->items[i].name) &&
		        !str_eq(fields->items[i].name, STR("content-length")))
			fields->items[kept++] = fields->items[i];
	fields->count = kept;
	parsed->keep_alive = !close && (!parsed->http_1_0 || keep);
	parsed->head.websocket = upgrades && !parsed->http_1_0 &&
	                         str_eq_nocase(upgrade, STR("websocket"));
	return true;
}

static bool refused(struct h1_head *parsed, const char *fault, int status)
{
	parsed->fault = fault;
	parsed->fault_status = status;
	return false;
}

// METHOD SP TARGET SP HTTP/1.x, and nothing else on the line (RFC 9112, 3).
static const char *request_line_fault(struct str block, struct h1_head *parsed)
{
	struct str line = str_of(
	        block.at, (size_t)((const char *)memchr(block.at, '\r', block.len) - block.at));
	const char *first = str_find_byte(line, ' ');
	if (!first)
		return "the request line has no target";
	struct str rest = str_skip(line, (size_t)(first - line.at) + 1);
	const char *second = str_find_byte(rest, ' ');
	if (!second)
		return "the request line has no version";
	parsed->head.method = str_of(line.at, (size_t)(first - line.at));
	parsed->head.target = str_of(rest.at, (size_t)(second - rest.at));
	struct str version = str_skip(rest, (size_t)(second - rest.at) + 1);
	if (!field_name_valid(parsed->head.method))
		return "the method is no token";
	if (parsed->head.target.len == 0)
		return "white space in the request line";
	parsed->http_1_0 = str_eq(version, STR("HTTP/1.0"));
	if (!parsed->http_1_0 && !str_eq(version, STR("HTTP/1.1")))
		return "the version is neither HTTP/1.1 nor HTTP/1.0";
	return NULL;
}

// Whom the request is for: the one Host, or the authority of an absolute-form target, which
// outranks it (RFC 9112, 3.2).
static const char *authority_fault(struct h1_head *parsed, struct arena *arena)
{
	struct head *head = &parsed->head;
	size_t hosts = 0;
	for (size_t i = 0; i < head->fields.count; i++) {
		if (!str_eq(head->fields.items[i].name, STR("host")))
			continue;
		head->authority = head->fields.items[i].value;
		hosts++;
	}
	if (hosts > 1)
		return "Host repeated";
	if (hosts == 0 && !parsed->http_1_0)
		return "Host is missing";
	// Before the target outranks it: a Host that is no host is refused whatever the target says
	// (RFC 9112, 3.2).
	if (head->authority.len ? !authority_valid(head->authority) : !parsed->http_1_0)
		return "Host is not valid";
	fields_remove(&head->fields, STR("host"));
	if (*head->target.at == '/' || str_eq(head->target, STR("*")))
		return NULL;
	struct str rest = head->target;
	if (str_starts_nocase(rest, STR("http://")))
		rest = str_skip(rest, strlen("http://"));
	else if (str_starts_nocase(rest, STR("https://")))
		rest = str_skip(rest, strlen("https://"));
	else
		return "the target is neither a path nor an absolute URI";
	size_t len = 0;
	while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?')
		len++;
	head->authority = str_of(rest.at, len);
	head->target = str_skip(rest, len);
	if (!str_starts(head->target, STR("/")))
		head->target = arena_printf(arena, "/%.*s", STR_FMT(head->target));
	if (!head->authority.len)
		return "the absolute URI names no host";
	return authority_valid(head->authority) ? NULL : "Host is not valid";
}

static const char *target_fault(struct h1_head *parsed, struct arena *arena)
{
	const struct head *head = &parsed->head;
	const char *fault = authority_fault(parsed, arena);
	if (fault)
		return fault;
	if (str_eq(head->target, STR("*")) ? !str_eq(head->method, STR("OPTIONS"))
	                                   : !target_valid(head->target))
		return "the target is not valid";
	return NULL;
}

bool h1_request_parse(struct str block, const struct h1_limits *limits, struct arena *arena,
        struct h1_head *parsed)
{
	*parsed = (struct h1_head){0};
	head_request(&parsed->head);
	block = arena_str(arena, block);
	const char *fault = request_line_fault(block, parsed);
	if (fault)
		return refused(parsed, fault, 400);
	struct reader reader = {.arena = arena, .fields = &parsed->head.fields};
	llhttp_t parser;
	fault = read_block(block, HTTP_REQUEST, &reader, &parser);
	if (!fault && parsed->head.fields.count > limits->fields)
		return refused(parsed, "too many header fields", 431);
	if (!fault)
		fault = fields_fault(&parsed->head.fields, arena);
	if (!fault)
		fault = framing_fault(parsed);
	if (!fault)
		fault = target_fault(parsed, arena);
	if (!fault && str_eq(parsed->head.method, STR("CONNECT")))
		fault = "CONNECT is not served";
	if (fault)
		return refused(parsed, fault, 400);
	struct str expect = fields_joined(&parsed->head.fields, STR("expect"), arena);
	if (expect.len && !str_eq_nocase(expect, STR("100-continue")))
		return refused(parsed, "Expect asks for something unknown", 417);
	parsed->head.expects_continue = expect.len && !parsed->http_1_0 &&
	                                parsed->framing != H1_NO_BODY &&
	                                parsed->head.content_length != 0;
	fields_remove(&parsed->head.fields, STR("expect"));
	if (!strip_hop(parsed, limits, arena))
		return refused(parsed, "Connection has too many options", 431);
	if (parsed->framing == H1_LENGTH && parsed->head.content_length == 0)
		parsed->framing = H1_NO_BODY;
	parsed->head.websocket &= parsed->framing == H1_NO_BODY &&
	                          str_eq(parsed->head.method, STR("GET"));
	return true;
}

static bool status_line_exact(struct str block)
{
	return block.len > 12 &&
	       (str_starts(block, STR("HTTP/1.1 ")) || str_starts(block, STR("HTTP/1.0 "))) &&
	       (block.at[12] == ' ' || block.at[12] == '\r');
}

bool h1_answer_parse(struct str block, const struct h1_limits *limits, bool to_head,
        struct arena *arena, struct h1_head *parsed)
{
	*parsed = (struct h1_head){0};
	block = arena_str(arena, block);
	if (!status_line_exact(block))
		return refused(parsed, "not an HTTP/1 status line", 502);
	head_answer(&parsed->head, 0);
	parsed->http_1_0 = block.at[7] == '0';
	struct reader reader = {.arena = arena, .fields = &parsed->head.fields};
	llhttp_t parser;
	const char *fault = read_block(block, HTTP_RESPONSE, &reader, &parser);
	if (!fault && parsed->head.fields.count > limits->fields)
		fault = "too many header fields";
	if (!fault)
		fault = fields_fault(&parsed->head.fields, arena);
	if (!fault)
		fault = framing_fault(parsed);
	if (fault)
		return refused(parsed, fault, 502);
	int status = parsed->head.status = llhttp_get_status_code(&parser);
	if (status < 100 || status > 599)
		return refused(parsed, "a status outside 100..599", 502);
	bool bodiless = status < 200 || status == 204 || status == 304 || to_head;
	if ((status < 200 || status == 204) && parsed->framing == H1_CHUNKED)
		return refused(parsed, "Transfer-Encoding in an answer without body", 502);
	if (!bodiless && parsed->framing == H1_NO_BODY)
		parsed->framing = H1_TO_END;
	if (!strip_hop(parsed, limits, arena))
		return refused(parsed, "Connection has too many options", 502);
	if (bodiless)
		parsed->framing = H1_NO_BODY;
	if (status < 200 || status == 204)
		parsed->head.content_length = -1;
	if (parsed->framing == H1_TO_END)
		parsed->keep_alive = false;
	if (parsed->framing == H1_LENGTH && parsed->head.content_length == 0)
		parsed->framing = H1_NO_BODY;
	return true;
}

// A trailer section is a head without its first line, so it is read by the same rules as one.
bool h1_trailers_parse(struct str block, const struct h1_limits *limits, struct arena *arena,
        struct fields *trailers)
{
	*trailers = (struct fields){0};
	struct str whole = arena_printf(arena, "GET / HTTP/1.1\r\n%.*s", STR_FMT(block));
	struct fields all = {0};
	struct reader reader = {.arena = arena, .fields = &all};
	llhttp_t parser;
	if (read_block(whole, HTTP_REQUEST, &reader, &parser) || all.count > limits->fields ||
	        fields_fault(&all, arena))
		return false;
	for (size_t i = 0; i < all.count; i++)
		if (!field_forbidden_in_trailers(all.items[i].name))
			fields_add(trailers, arena, all.items[i].name, all.items[i].value);
	return true;
}

#include "conf/check.h"
#include "conf/value.h"

// Whose a field is, where it is not the operator's.
struct owned {
	const char *name;  // lower case; with a final dash all that begin so
	const char *why;
};

#define VOUCHED "by which the gateway says who called and how"
#define TRACED "by which the gateway ties a request to its records and traces"
#define FRAMED "which frames the message"
#define HOP "which belongs to one connection"
#define GRPC "which belongs to gRPC"

static const struct owned owned[] = {
        {"x-forwarded-client-cert", VOUCHED},
        {"x-forwarded-for", VOUCHED},
        {"x-forwarded-proto", VOUCHED},
        {"x-forwarded-host", VOUCHED},
        {"x-request-id", TRACED},
        {"traceparent", TRACED},
        {"tracestate", TRACED},
        {"host", "which is rewritten as a host, not as a field"},
        {"content-length", FRAMED},
        {"transfer-encoding", FRAMED},
        {"trailer", FRAMED},
        {"expect", FRAMED},
        {"connection", HOP},
        {"proxy-connection", HOP},
        {"keep-alive", HOP},
        {"upgrade", HOP},
        {"http2-settings", HOP},
        {"te", HOP},
        {"proxy-authenticate", HOP},
        {"proxy-authorization", HOP},
        {"grpc-", GRPC},
};

static const char *whose(struct str name, bool request)
{
	if (name.at[0] == ':')
		return "which is a pseudo-header field";
	for (size_t i = 0; i < ARRAY_LEN(owned); i++) {
		struct str own = str_from(owned[i].name);
		bool family = str_ends(own, STR("-")) && name.len > own.len;
		if (str_same_field(family ? str_of(name.at, own.len) : name, own))
			return owned[i].why;
	}
	if (request && str_same_field(name, STR("content-type")))
		return "by which gRPC calls were told from others";
	return NULL;
}

static void check_owner(struct reader *reader, const struct config_text *name, bool request)
{
	const char *why = name->text.len ? whose(name->text, request) : NULL;
	if (why)
		reader_problem(reader, name->mark, "found %s, %s; expected another",
		        value_quote(name->text).text, why);
}

static const struct config_text *find_field(
        const struct config_field *fields, size_t count, struct str name)
{
	for (size_t i = 0; i < count; i++)
		if (str_same_field(fields[i].name.text, name))
			return &fields[i].name;
	return NULL;
}

// Two types are nobody's, and an answer of gRPC's type is for gRPC calls to get.
static void check_content_type(struct reader *reader, const struct config_field *field, bool once)
{
	if (!str_same_field(field->name.text, STR("content-type")))
		return;
	if (!once)
		reader_problem(reader, field->name.mark,
		        "adds a second content-type; expected it in set, which replaces the first");
	else if (str_starts_nocase(field->value.text, STR("application/grpc")))
		reader_problem(reader, field->name.mark,
		        "makes a gRPC answer of one that is none; expected another type");
}

// `once`: of `set`, where each name stands for all there is.
static void check_fields(struct reader *reader, const char *key, const struct config_field *fields,
        size_t count, bool request, bool once)
{
	reader_enter(reader, key);
	for (size_t i = 0; i < count; i++) {
		const struct config_text *name = &fields[i].name;
		reader_enter_item(reader, i);
		reader_enter(reader, "name");
		check_owner(reader, name, request);
		if (!request)
			check_content_type(reader, &fields[i], once);
		if (once && name->text.len && find_field(fields, i, name->text))
			reader_problem(reader, name->mark,
			        "is set twice, first in line %d; expected it once, and further "
			        "values in add",
			        find_field(fields, i, name->text)->mark.line);
		reader_leave(reader);
		reader_leave(reader);
	}
	reader_leave(reader);
}

static void check_removed(
        struct reader *reader, const struct config_field_rules *rules, size_t index)
{
	const struct config_text *name = &rules->remove.items[index];
	if (find_field(rules->set, rules->set_count, name->text))
		reader_problem(reader, name->mark,
		        "can have no effect: set takes away what is there, too; expected it in "
		        "one of them");
	else if (find_field(rules->add, rules->add_count, name->text))
		reader_problem(reader, name->mark,
		        "is removed and added; expected it in set, which does both");
	for (size_t i = 0; i < index; i++)
		if (str_same_field(rules->remove.items[i].text, name->text) &&
		        !str_eq(rules->remove.items[i].text, name->text))
			reader_problem(reader, name->mark,
			        "can have no effect: %s takes away this spelling, too; expected it "
			        "once",
			        value_quote(rules->remove.items[i].text).text);
}

static void check_rules(struct reader *reader, const struct tree *node,
        struct config_field_rules *rules, bool request)
{
	rules->any = rules->set_count || rules->add_count || rules->remove.count;
	if (!node->count)
		reader_problem(reader, node->mark,
		        "changes nothing; expected set, add or remove, or the key left out");
	check_fields(reader, "set", rules->set, rules->set_count, request, true);
	check_fields(reader, "add", rules->add, rules->add_count, request, false);
	reader_enter(reader, "remove");
	for (size_t i = 0; i < rules->remove.count; i++) {
		reader_enter_item(reader, i);
		check_owner(reader, &rules->remove.items[i], request);
		check_removed(reader, rules, i);
		reader_leave(reader);
	}
	reader_leave(reader);
}

void check_request_headers(struct reader *reader, const struct tree *node, void *base)
{
	check_rules(reader, node, base, true);
}

void check_response_headers(struct reader *reader, const struct tree *node, void *base)
{
	check_rules(reader, node, base, false);
}

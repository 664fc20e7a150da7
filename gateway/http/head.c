#include "gateway/http/head.h"

#include "base/check.h"

void fields_add(struct fields *fields, struct arena *arena, struct str name, struct str value)
{
	if (fields->count == fields->capacity) {
		size_t capacity = fields->capacity ? fields->capacity * 2 : 16;
		struct field *items = arena_alloc(arena, capacity * sizeof(*items));
		if (fields->count)
			memcpy(items, fields->items, fields->count * sizeof(*items));
		fields->items = items;
		fields->capacity = capacity;
	}
	fields->items[fields->count++] = (struct field){name, value};
}

const struct field *fields_find(const struct fields *fields, struct str name)
{
	for (size_t i = 0; i < fields->count; i++)
		if (str_eq(fields->items[i].name, name))
			return &fields->items[i];
	return NULL;
}

struct str fields_get(const struct fields *fields, struct str name)
{
	const struct field *field = fields_find(fields, name);
	return field ? field->value : STR("");
}

struct str fields_joined(const struct fields *fields, struct str name, struct arena *arena)
{
	return fields_joined_with(fields, name, STR(", "), arena);
}

static char *append(char *at, struct str s)
{
	if (s.len)
		memcpy(at, s.at, s.len);
	return at + s.len;
}

// In two passes: joining one by one would take memory by the square of what was sent.
struct str fields_joined_with(
        const struct fields *fields, struct str name, struct str between, struct arena *arena)
{
	const struct field *first = fields_find(fields, name);
	if (!first)
		return STR("");
	const struct field *end = fields->items + fields->count;
	size_t len = first->value.len;
	for (const struct field *field = first + 1; field < end; field++)
		if (str_eq(field->name, name))
			len += between.len + field->value.len;
	if (len == first->value.len)  // there is no other
		return first->value;
	char *joined = arena_alloc(arena, len), *at = append(joined, first->value);
	for (const struct field *field = first + 1; field < end; field++)
		if (str_eq(field->name, name))
			at = append(append(at, between), field->value);
	return str_of(joined, len);
}

void fields_remove(struct fields *fields, struct str name)
{
	size_t kept = 0;
	for (size_t i = 0; i < fields->count; i++)
		if (!str_eq(fields->items[i].name, name))
			fields->items[kept++] = fields->items[i];
	fields->count = kept;
}

void head_request(struct head *head)
{
	*head = (struct head){.content_length = -1, .scheme = STR("https")};
}

void head_answer(struct head *head, int status)
{
	*head = (struct head){.content_length = -1, .status = status};
}

bool head_is_grpc(const struct head *head)
{
	// Any of several: which one a backend goes by cannot be known.
	for (size_t i = 0; i < head->fields.count; i++) {
		const struct field *field = &head->fields.items[i];
		if (str_eq(field->name, STR("content-type")) &&
		        str_starts_nocase(field->value, STR("application/grpc")))
			return true;
	}
	return false;
}

bool field_name_valid(struct str name)
{
	static const bool token[256] = {
	        ['!'] = 1,
	        ['#'] = 1,
	        ['$'] = 1,
	        ['%'] = 1,
	        ['&'] = 1,
	        ['\''] = 1,
	        ['*'] = 1,
	        ['+'] = 1,
	        ['-'] = 1,
	        ['.'] = 1,
	        ['^'] = 1,
	        ['_'] = 1,
	        ['`'] = 1,
	        ['|'] = 1,
	        ['~'] = 1,
	        ['0' ... '9'] = 1,
	        ['a' ... 'z'] = 1,
	        ['A' ... 'Z'] = 1,
	};
	for (size_t i = 0; i < name.len; i++)
		if (!token[(unsigned char)name.at[i]])
			return false;
	return name.len > 0;
}

bool field_value_valid(struct str value)
{
	return str_find_control(value) == value.len;
}

bool target_valid(struct str target)
{
	for (size_t i = 0; i < target.len; i++) {
		unsigned char byte = (unsigned char)target.at[i];
		if (byte <= 0x20 || byte >= 0x7f || byte == '#')
			return false;
	}
	return str_starts(target, STR("/"));
}

static bool host_byte(char c, bool literal)
{
	if ((c >= '0' && c <= '9') || c == '.')
		return true;
	char lower = (char)(c | 0x20);
	if (literal)
		return c == ':' || (lower >= 'a' && lower <= 'f');
	return (lower >= 'a' && lower <= 'z') || c == '-' || c == '_' || c == '~';
}

static size_t host_len(struct str authority)
{
	bool literal = str_starts(authority, STR("["));
	for (size_t i = literal; i < authority.len; i++) {
		if (literal && authority.at[i] == ']')
			return i > 1 ? i + 1 : 0;
		if (!host_byte(authority.at[i], literal))
			return literal ? 0 : i;
	}
	return literal ? 0 : authority.len;
}

bool authority_valid(struct str authority)
{
	size_t len = host_len(authority);
	struct str port = str_skip(authority, len);
	uint64_t number;
	return len && (port.len <= 1 ? port.len == 0 || *port.at == ':'
	                             : *port.at == ':' &&
	                                       str_to_u64(str_skip(port, 1), UINT16_MAX, &number));
}

static bool one_of(struct str name, const struct str *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

bool field_is_hop_by_hop(struct str name)
{
	static const struct str names[] = {
	        {"connection", 10},
	        {"keep-alive", 10},
	        {"proxy-connection", 16},
	        {"te", 2},
	        {"upgrade", 7},
	        {"http2-settings", 14},
	        {"transfer-encoding", 17},
	        {"proxy-authenticate", 18},
	        {"proxy-authorization", 19},
	};
	return one_of(name, names, ARRAY_LEN(names));
}

bool field_forbidden_in_trailers(struct str name)
{
	static const struct str names[] = {
	        {"content-length", 14},
	        {"transfer-encoding", 17},
	        {"host", 4},
	        {"trailer", 7},
	        {"content-encoding", 16},
	        {"content-type", 12},
	        {"content-range", 13},
	        {"authorization", 13},
	        {"cookie", 6},
	        {"set-cookie", 10},
	        {"cache-control", 13},
	        {"expect", 6},
	        {"forwarded", 9},
	        {"max-forwards", 12},
	        {"range", 5},
	        {"traceparent", 11},
	        {"x-request-id", 12},
	        {"grpc-timeout", 12},
	        {"www-authenticate", 16},
	        {"authentication-info", 19},
	        {"proxy-authentication-info", 25},
	        // What frameworks route by, or take for the caller's address.
	        {"x-http-method-override", 22},
	        {"x-http-method", 13},
	        {"x-method-override", 17},
	        {"x-original-url", 14},
	        {"x-original-host", 15},
	        {"x-rewrite-url", 13},
	        {"x-host", 6},
	        {"x-real-ip", 9},
	};
	return field_is_hop_by_hop(name) || one_of(name, names, ARRAY_LEN(names)) ||
	       str_starts(name, STR("x-forwarded-")) || str_starts(name, STR("x_forwarded_"));
}

#include "gateway/otlp.h"

enum {
	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,
	ANY_VALUE_STRING = 1,
	ANY_VALUE_INT = 3,
	REQUEST_RESOURCE_SPANS = 1,
	RESOURCE_SPANS_RESOURCE = 1,
	RESOURCE_SPANS_SCOPE_SPANS = 2,
	RESOURCE_ATTRIBUTES = 1,
	SCOPE_SPANS_SCOPE = 1,
	SCOPE_NAME = 1,
	SCOPE_VERSION = 2,
	RESPONSE_PARTIAL = 1,
	PARTIAL_REJECTED = 1,
	PARTIAL_MESSAGE = 2,
};

void otlp_text(struct buffer *out, unsigned field, const char *key, struct str value)
{
	if (!value.len)
		return;
	size_t pair = proto_open(out, field);
	proto_bytes(out, KEY_VALUE_KEY, str_from(key));
	size_t any = proto_open(out, KEY_VALUE_VALUE);
	proto_text(out, ANY_VALUE_STRING, value, OTLP_TEXT_BYTES_MAX);
	proto_close(out, any);
	proto_close(out, pair);
}

void otlp_int(struct buffer *out, unsigned field, const char *key, int64_t value)
{
	size_t pair = proto_open(out, field);
	proto_bytes(out, KEY_VALUE_KEY, str_from(key));
	size_t any = proto_open(out, KEY_VALUE_VALUE);
	proto_uint(out, ANY_VALUE_INT, (uint64_t)value);
	proto_close(out, any);
	proto_close(out, pair);
}

static unsigned nibble(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10) & 15;
}

void otlp_id(struct buffer *out, unsigned field, struct str hex)
{
	char bytes[16];
	size_t len = hex.len / 2;
	CHECK(len <= sizeof(bytes));
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(nibble(hex.at[2 * i]) << 4 | nibble(hex.at[2 * i + 1]));
	proto_bytes(out, field, str_of(bytes, len));
}

void otlp_resource(struct buffer *out, const struct otlp_resource *resource)
{
	otlp_text(out, RESOURCE_ATTRIBUTES, "service.name", resource->service_name);
	otlp_text(out, RESOURCE_ATTRIBUTES, "service.version", resource->service_version);
	otlp_text(out, RESOURCE_ATTRIBUTES, "service.instance.id", resource->instance_id);
	otlp_text(out, RESOURCE_ATTRIBUTES, "host.name", resource->host_name);
	otlp_text(out, RESOURCE_ATTRIBUTES, "process.executable.name", STR("tollgate"));
	otlp_int(out, RESOURCE_ATTRIBUTES, "process.pid", resource->pid);
}

void otlp_request(struct buffer *out, const struct otlp_resource *resource, struct str spans)
{
	size_t resource_spans = proto_open(out, REQUEST_RESOURCE_SPANS);
	size_t inner = proto_open(out, RESOURCE_SPANS_RESOURCE);
	otlp_resource(out, resource);
	proto_close(out, inner);
	size_t scope_spans = proto_open(out, RESOURCE_SPANS_SCOPE_SPANS);
	inner = proto_open(out, SCOPE_SPANS_SCOPE);
	proto_bytes(out, SCOPE_NAME, STR("tollgate"));
	proto_text(out, SCOPE_VERSION, resource->service_version, OTLP_TEXT_BYTES_MAX);
	proto_close(out, inner);
	buffer_append_str(out, spans);
	proto_close(out, scope_spans);
	proto_close(out, resource_spans);
}

static bool read_partial(struct str bytes, uint64_t *rejected, struct str *message)
{
	unsigned field;
	uint64_t value;
	struct str content;
	while (bytes.len) {
		if (!proto_take(&bytes, &field, &value, &content))
			return false;
		if (field == PARTIAL_REJECTED)
			*rejected = value;
		else if (field == PARTIAL_MESSAGE)
			*message = content;
	}
	return true;
}

bool otlp_response(struct str bytes, uint64_t *rejected, struct str *message)
{
	unsigned field;
	uint64_t value;
	struct str content;
	*rejected = 0;
	*message = STR("");
	while (bytes.len) {
		if (!proto_take(&bytes, &field, &value, &content))
			return false;
		if (field == RESPONSE_PARTIAL && !read_partial(content, rejected, message))
			return false;
	}
	return true;
}

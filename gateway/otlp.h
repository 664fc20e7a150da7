// The pieces that OTLP's messages of traces are made of (opentelemetry-proto, trace/v1): field
// numbers, attributes, ids, and the request around a batch of spans. Protobuf and not OTLP's JSON:
// half the bytes, ids as they are, no escaping, and the one encoding every collector must take.
// Pure but for the buffer it writes to; any thread.
#ifndef GATEWAY_OTLP_H
#define GATEWAY_OTLP_H

#include "base/proto.h"
#include "conf/config.h"

enum { OTLP_TEXT_BYTES_MAX = 1024 };  // of an attribute; what is longer is cut

// Span
enum {
	OTLP_SPAN = 2,  // in ScopeSpans
	OTLP_SPAN_TRACE_ID = 1,
	OTLP_SPAN_ID = 2,
	OTLP_SPAN_TRACE_STATE = 3,
	OTLP_SPAN_PARENT_ID = 4,
	OTLP_SPAN_NAME = 5,
	OTLP_SPAN_KIND = 6,
	OTLP_SPAN_START = 7,
	OTLP_SPAN_END = 8,
	OTLP_SPAN_ATTRIBUTES = 9,
	OTLP_SPAN_EVENTS = 11,
	OTLP_SPAN_STATUS = 15,
	OTLP_SPAN_FLAGS = 16,
};
enum otlp_kind { OTLP_SERVER = 2, OTLP_CLIENT = 3 };
enum { OTLP_FLAGS_REMOTE_KNOWN = 0x100, OTLP_FLAGS_REMOTE = 0x200 };
enum { OTLP_STATUS_CODE = 3, OTLP_STATUS_ERROR = 2 };
enum { OTLP_EVENT_TIME = 1, OTLP_EVENT_NAME = 2, OTLP_EVENT_ATTRIBUTES = 3 };

// Attributes of what is being written, whose field for them is `field`; empty text is left out.
void otlp_text(struct buffer *out, unsigned field, const char *key, struct str value);
void otlp_int(struct buffer *out, unsigned field, const char *key, int64_t value);
// An id given in hex.
void otlp_id(struct buffer *out, unsigned field, struct str hex);

// Who sends: the Resource message.
struct otlp_resource {
	struct str service_name, service_version, instance_id, host_name;
	int64_t pid;
};
void otlp_resource(struct buffer *out, const struct otlp_resource *resource);

// An ExportTraceServiceRequest of these spans, each an OTLP_SPAN field.
void otlp_request(struct buffer *out, const struct otlp_resource *resource, struct str spans);

// What an ExportTraceServiceResponse says was not taken, and why; false when it is none.
MUST_USE bool otlp_response(struct str bytes, uint64_t *rejected, struct str *message);

#endif

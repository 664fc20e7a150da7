#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/otlp.h"
#include "gateway/trace_lane.h"

static void assert_bytes(struct buffer *out, const char *bytes, size_t len)
{
	assert_int_equal(buffer_len(out), len);
	assert_memory_equal(buffer_data(out), bytes, len);
	buffer_clear(out);
}
#define ASSERT_BYTES(out, literal) assert_bytes(out, literal, sizeof(literal) - 1)

static void attributes_and_ids_on_the_wire(void **state)
{
	(void)state;
	struct buffer out = {0};
	otlp_text(&out, OTLP_SPAN_ATTRIBUTES, "k", STR("v"));
	ASSERT_BYTES(&out, "\x4a\x08\x0a\x01k\x12\x03\x0a\x01v");
	otlp_text(&out, OTLP_SPAN_ATTRIBUTES, "k", STR(""));
	ASSERT_BYTES(&out, "");
	otlp_int(&out, OTLP_SPAN_ATTRIBUTES, "k", 200);
	ASSERT_BYTES(&out, "\x4a\x08\x0a\x01k\x12\x03\x18\xc8\x01");
	otlp_int(&out, OTLP_EVENT_ATTRIBUTES, "k", -1);
	ASSERT_BYTES(&out, "\x1a\x10\x0a\x01k\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
	otlp_id(&out, OTLP_SPAN_ID, STR("00f067aa0ba902b7"));
	ASSERT_BYTES(&out, "\x12\x08\x00\xf0\x67\xaa\x0b\xa9\x02\xb7");
	otlp_id(&out, OTLP_SPAN_TRACE_ID, STR("4bf92f3577b34da6a3ce929d0e0e4736"));
	ASSERT_BYTES(
	        &out, "\x0a\x10\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36");
	buffer_fini(&out);
}

static struct str field_of(struct str bytes, unsigned wanted)
{
	unsigned field;
	uint64_t value;
	struct str content;
	while (proto_take(&bytes, &field, &value, &content))
		if (field == wanted)
			return content;
	fail_msg("no field %u", wanted);
	return STR("");
}

static void a_request_wraps_the_spans_as_they_are(void **state)
{
	(void)state;
	struct buffer out = {0};
	const struct otlp_resource resource = {.service_name = STR("s"),
	        .service_version = STR("v1"),
	        .instance_id = STR("i"),
	        .host_name = STR("h"),
	        .pid = 7};
	otlp_request(&out, &resource, STR("\x12\x01x\x12\x01y"));
	struct str spans = field_of(buffer_str(&out), 1);
	struct str who = field_of(field_of(spans, 1), 1);
	assert_true(str_eq(who, STR("\x0a\x0cservice.name\x12\x03\x0a\x01s")));
	struct str scope_spans = field_of(spans, 2);
	assert_true(str_eq(field_of(scope_spans, 1), STR("\x0a\x08tollgate\x12\x02v1")));
	assert_true(str_ends(scope_spans, STR("\x12\x01x\x12\x01y")));
	buffer_fini(&out);
}

static void a_response_tells_what_was_not_taken(void **state)
{
	(void)state;
	uint64_t rejected = 9;
	struct str message;
	assert_true(otlp_response(STR(""), &rejected, &message));
	assert_int_equal(rejected, 0);
	assert_true(otlp_response(STR("\x0a\x09\x08\x96\x01\x12\x04"
	                              "full"),
	        &rejected, &message));
	assert_int_equal(rejected, 150);
	assert_true(str_eq(message, STR("full")));
	assert_true(otlp_response(STR("\x0a\x00"), &rejected, &message));
	assert_int_equal(rejected, 0);
	assert_false(otlp_response(STR("<html>"), &rejected, &message));
	assert_false(otlp_response(STR("\x0a\x09\x08"), &rejected, &message));
	assert_false(otlp_response(STR("\x0a\x01\x08"), &rejected, &message));
}

static void put(struct trace_lane *lane, const char *names)
{
	buffer_clear(&lane->scratch);
	for (const char *name = names; *name; name++)
		proto_bytes(&lane->scratch, OTLP_SPAN, str_of(name, 1));
	trace_lane_put(lane, strlen(names));
}

static void assert_taken(struct trace_lane *lane, size_t most, const char *names)
{
	struct buffer out = {0};
	assert_int_equal(trace_lane_take(lane, most, &out), strlen(names));
	struct str bytes = buffer_str(&out), content;
	unsigned field;
	uint64_t value;
	for (const char *name = names; *name; name++) {
		assert_true(proto_take(&bytes, &field, &value, &content));
		assert_int_equal(*content.at, *name);
	}
	assert_int_equal(bytes.len, 0);
	buffer_fini(&out);
}

static void a_lane_gives_whole_spans_in_order_and_no_more_than_its_bound(void **state)
{
	(void)state;
	struct trace_queue queue;
	struct trace_lane one, other;
	trace_queue_init(&queue);
	trace_lane_init(&one, &queue);
	trace_lane_init(&other, &queue);
	queue.most = 6;
	queue.batch = 4;
	put(&one, "ab");
	assert_int_equal(queue.bell.level, AUDIT_BELL_WANTED);
	put(&other, "c");
	put(&one, "d");
	assert_int_equal(queue.bell.level, AUDIT_BELL_URGENT);
	put(&one, "ef");
	put(&other, "gh");  // all or none
	assert_int_equal(queue.dropped, 2);
	assert_int_equal(queue.waiting, 6);
	assert_taken(&one, 3, "abd");
	put(&one, "ij");
	assert_taken(&one, 10, "ef");
	assert_taken(&one, 10, "ij");
	assert_taken(&one, 10, "");
	assert_taken(&other, 10, "c");
	assert_int_equal(queue.waiting, 0);
	trace_lane_fini(&one);
	trace_lane_fini(&other);
	trace_queue_fini(&queue);
}

static void a_batch_is_bounded_in_bytes_too(void **state)
{
	(void)state;
	static char megabyte[1 << 20];
	struct trace_queue queue;
	struct trace_lane lane;
	struct buffer out = {0};
	trace_queue_init(&queue);
	trace_lane_init(&lane, &queue);
	queue.most = queue.batch = 100;
	for (int i = 0; i < 7; i++) {
		buffer_clear(&lane.scratch);
		proto_bytes(&lane.scratch, OTLP_SPAN, str_of(megabyte, sizeof(megabyte)));
		trace_lane_put(&lane, 1);
	}
	assert_int_equal(trace_lane_take(&lane, 100, &out), 4);
	buffer_clear(&out);
	assert_int_equal(trace_lane_take(&lane, 100, &out), 3);
	buffer_fini(&out);
	trace_lane_fini(&lane);
	trace_queue_fini(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(attributes_and_ids_on_the_wire),
	        cmocka_unit_test(a_request_wraps_the_spans_as_they_are),
	        cmocka_unit_test(a_response_tells_what_was_not_taken),
	        cmocka_unit_test(a_lane_gives_whole_spans_in_order_and_no_more_than_its_bound),
	        cmocka_unit_test(a_batch_is_bounded_in_bytes_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

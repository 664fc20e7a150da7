// traceparent and tracestate: what is taken is well-formed wherever it is looked at, and what is
// passed on of it is taken again as it is, within its limits.
//   FIELD NUL FIELD NUL ...: even ones are traceparent, odd ones tracestate
#include "gateway/http/trace.h"
#include "tests/fuzz/fuzz.h"

static void check_hex(struct str text)
{
	bool zero = true;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
		zero &= c == '0';
	}
	CHECK(!zero);
}

static void check_parent(const struct fields *fields, struct arena *arena)
{
	struct trace_parent parent, again;
	if (!trace_parent_of(fields, arena, &parent))
		return;
	CHECK(parent.trace_id.len == 32 && parent.parent_id.len == 16 && parent.flags <= 3);
	check_hex(parent.trace_id);
	check_hex(parent.parent_id);
	struct str out = arena_printf(arena, "00-%.*s-%.*s-%02x", STR_FMT(parent.trace_id),
	        STR_FMT(parent.parent_id), parent.flags);
	CHECK(trace_parent_parse(out, &again));
	CHECK(str_eq(again.trace_id, parent.trace_id) && again.flags == parent.flags);
	CHECK(trace_id_sampled(parent.trace_id, 1) && !trace_id_sampled(parent.trace_id, 0));
}

static void check_state(const struct fields *fields, struct arena *arena)
{
	struct fields out = {0};
	struct str passed = trace_state_of(fields, arena);
	CHECK(passed.len <= TRACE_STATE_BYTES_MAX);
	CHECK(field_value_valid(passed));
	fields_add(&out, arena, STR("tracestate"), passed);
	CHECK(str_eq(trace_state_of(&out, arena), passed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = own_copy(str_of((const char *)data, size)), rest = text;
	struct arena arena = {0};
	struct fields fields = {0};
	for (int i = 0; rest.len; i++) {
		const char *end = str_find_byte(rest, '\0');
		struct str field = str_of(rest.at, end ? (size_t)(end - rest.at) : rest.len);
		rest = str_skip(rest, end ? field.len + 1 : field.len);
		fields_add(&fields, &arena, i % 2 ? STR("tracestate") : STR("traceparent"),
		        str_trim(field));
	}
	check_parent(&fields, &arena);
	check_state(&fields, &arena);
	arena_fini(&arena);
	own_free(text);
	return 0;
}

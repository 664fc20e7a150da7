#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "gateway/http/trace.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define NOTHING_32 "00000000000000000000000000000000"

static const struct {
	const char *text;
	int flags;  // -1: refused
} parents[] = {
        {"00-" TRACE "-" PARENT "-01", 1},
        {"00-" TRACE "-" PARENT "-00", 0},
        {"00-" TRACE "-" PARENT "-02", 2},
        {"00-" TRACE "-" PARENT "-ff", 3},
        {"00-" TRACE "-" PARENT "-0c", 0},
        {"00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01", 1},
        {"00-00000000000000000000000000000001-0000000000000001-01", 1},
        // later versions: as 00, and more behind a dash
        {"01-" TRACE "-" PARENT "-01", 1},
        {"cc-" TRACE "-" PARENT "-01", 1},
        {"cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like", 1},
        {"cc-" TRACE "-" PARENT "-01-", 1},
        {"fe-" TRACE "-" PARENT "-00-x", 0},
        {"cc-" TRACE "-" PARENT "-01.what", -1},
        {"cc-" TRACE "-" PARENT "-01, 00-" TRACE "-" PARENT "-01", -1},
        // version 00 is exactly so long
        {"00-" TRACE "-" PARENT "-01-what", -1},
        {"00-" TRACE "-" PARENT "-01-", -1},
        {"00-" TRACE "-" PARENT "-01 ", -1},
        {"00-" TRACE "-" PARENT "-0", -1},
        {"00-" TRACE "-" PARENT, -1},
        {"00-" TRACE "-" PARENT "-01, 00-" TRACE "-" PARENT "-01", -1},
        {"ff-" TRACE "-" PARENT "-01", -1},
        {"0-" TRACE "-" PARENT "-01", -1},
        {".0-" TRACE "-" PARENT "-01", -1},
        {"0.-" TRACE "-" PARENT "-01", -1},
        {"FE-" TRACE "-" PARENT "-01", -1},
        {"00-" NOTHING_32 "-" PARENT "-01", -1},
        {"00-" TRACE "-0000000000000000-01", -1},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", -1},
        {"00-" TRACE "-00F067AA0BA902B7-01", -1},
        {"00-" TRACE "-" PARENT "-0A", -1},
        {"00-" TRACE "-" PARENT "-.0", -1},
        {"00-4bf92f3577b34da6a3ce929d0e0e473g-" PARENT "-01", -1},
        {"00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-01", -1},
        {"00_" TRACE "-" PARENT "-01", -1},
        {"00-" TRACE "_" PARENT "-01", -1},
        {"00-" TRACE "-" PARENT "_01", -1},
        {"", -1},
        {"00", -1},
        {"nonsense", -1},
};

static void a_parent_is_continued_or_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parents); i++) {
		struct trace_parent parent;
		bool good = trace_parent_parse(str_from(parents[i].text), &parent);
		if (good != (parents[i].flags >= 0))
			fail_msg("%s: %s", parents[i].text, good ? "taken" : "refused");
		if (!good)
			continue;
		assert_int_equal(parent.flags, parents[i].flags);
		assert_memory_equal(parent.trace_id.at, parents[i].text + 3, 32);
		assert_memory_equal(parent.parent_id.at, parents[i].text + 36, 16);
		assert_int_equal(parent.trace_id.len, 32);
		assert_int_equal(parent.parent_id.len, 16);
	}
}

static void two_parents_are_none(void **state)
{
	(void)state;
	struct fields fields = {0};
	struct arena arena = {0};
	struct trace_parent parent;
	assert_false(trace_parent_of(&fields, &arena, &parent));
	fields_add(&fields, &arena, STR("traceparent"), STR("00-" TRACE "-" PARENT "-01"));
	assert_true(trace_parent_of(&fields, &arena, &parent));
	fields_add(&fields, &arena, STR("traceparent"), STR("00-" TRACE "-" PARENT "-01"));
	assert_false(trace_parent_of(&fields, &arena, &parent));
	arena_fini(&arena);
}

#define TEN(text) text text text text text text text text text text
#define X128 TEN("xxxxxxxxxxxx") "xxxxxxxx"
#define MEMBERS_32                                                                                 \
	"a0=1,a1=1,a2=1,a3=1,a4=1,a5=1,a6=1,a7=1,b0=1,b1=1,b2=1,b3=1,b4=1,b5=1,b6=1,b7=1,"         \
	"c0=1,c1=1,c2=1,c3=1,c4=1,c5=1,c6=1,c7=1,d0=1,d1=1,d2=1,d3=1,d4=1,d5=1,d6=1,d7=1"

static const struct {
	const char *given[2];
	const char *passed;
} states[] = {
        {{"foo=1"}, "foo=1"},
        {{"foo=1,bar=2"}, "foo=1,bar=2"},
        {{"foo=1", "bar=2"}, "foo=1,bar=2"},
        {{"foo=1 , \t bar=2"}, "foo=1,bar=2"},
        {{"foo=1,,bar=2,"}, "foo=1,bar=2"},
        {{"fw529a3039@dt=FfQCAA==Z"}, ""},
        {{"vendor@tenant=a b~!"}, "vendor@tenant=a b~!"},
        {{"0tenant@v-_*/=x"}, "0tenant@v-_*/=x"},
        {{MEMBERS_32}, MEMBERS_32},
        {{MEMBERS_32 ",e0=1"}, ""},
        {{""}, ""},
        {{","}, ""},
        {{"foo"}, ""},
        {{"foo="}, ""},
        {{"=1"}, ""},
        {{"Foo=1"}, ""},
        {{"foo =1"}, ""},
        {{"_foo=1"}, ""},
        {{"@foo=1"}, ""},
        {{"foo=1,foo=2"}, ""},
        {{"foo=\xC3\xA9"}, ""},
        {{"foo=1,bar"}, ""},
        // over 512 bytes long members go first, then the last ones
        {{"a=" X128 ",b=" X128, "c=" X128 ",d=" X128 ",e=1"},
                "a=" X128 ",b=" X128 ",c=" X128 ",e=1"},
};

static void state_is_passed_on_within_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		struct fields fields = {0};
		struct arena arena = {0};
		for (size_t k = 0; k < 2 && states[i].given[k]; k++)
			fields_add(
			        &fields, &arena, STR("tracestate"), str_from(states[i].given[k]));
		struct str passed = trace_state_of(&fields, &arena);
		if (!str_eq(passed, str_from(states[i].passed)))
			fail_msg("%s became %.*s", states[i].given[0], STR_FMT(passed));
		arena_fini(&arena);
	}
}

static void the_id_and_the_ratio_decide(void **state)
{
	(void)state;
	struct str lowest = STR("ffffffffffffffffff00000000000000");
	struct str middle = STR("00000000000000000080000000000000");
	struct str highest = STR("000000000000000000ffffffffffffff");
	assert_true(trace_id_sampled(lowest, 1));
	assert_false(trace_id_sampled(lowest, 0.999));
	assert_true(trace_id_sampled(middle, 0.5));
	assert_false(trace_id_sampled(middle, 0.499));
	assert_true(trace_id_sampled(highest, 1e-6));
	assert_false(trace_id_sampled(highest, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_parent_is_continued_or_none),
	        cmocka_unit_test(two_parents_are_none),
	        cmocka_unit_test(state_is_passed_on_within_limits),
	        cmocka_unit_test(the_id_and_the_ratio_decide),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/gateway/metrics_reader.h"

#include "gateway/metrics_series.h"

#include <malloc.h>
#include <math.h>

enum { ROUNDS = 2000 };

static void an_empty_exposition_names_every_metric(void **state)
{
	(void)state;
	char *text = exposed(NULL, 0, NULL, 0);
	assert_well_formed(text);
#define LABELS(...) ""
#define METRIC(name, type, labels, help)                                                           \
	assert_non_null(strstr(text, "# HELP tollgate_" #name " " help "\n"));
#define PROCESS_METRIC(name, type, labels, help)                                                   \
	assert_non_null(strstr(text, "# HELP " #name " " help "\n"));
#include "base/metric.def"
#undef PROCESS_METRIC
#undef METRIC
	free(text);
}

static void each_call_counts_its_series(void **state)
{
	(void)state;
	struct metrics *worker = metrics_new();
	const char *edge = label("edge"), *login = label("user.UserService/Login");
	metrics_request(worker, edge, login, METRICS_GRPC, 0, NS_PER_MS);
	metrics_request(worker, edge, login, METRICS_GRPC, 0, NS_PER_MS);
	metrics_request(worker, edge, label("/api/*"), METRICS_HTTP1, 200, 0);
	metrics_request(worker, edge, label("/api/*"), METRICS_HTTP2, 404, 0);
	metrics_rejection(worker, edge, REASON_certificate_expired);
	metrics_limit_decision(worker, login, label("rate_limits[0]"), true);
	metrics_limit_decision(worker, login, label("rate_limits[0]"), false);
	metrics_handshake(worker, edge, "ok");
	metrics_handshake(worker, edge, "tls_failed");
	metrics_connections(worker, edge, 1);
	metrics_connections(worker, edge, 1);
	metrics_connections(worker, edge, -1);
	metrics_upstream(worker, label("api"), label("127.0.0.1:8080"), 502, NULL, 0);
	metrics_upstream(worker, label("api"), label("127.0.0.1:8080"), 0, "connect_failed", 0);
	metrics_concurrency_limit(worker, label("api"), 64);
	metrics_concurrency_limit(worker, label("api"), 48);
	metrics_concurrency_active(worker, label("api"), 1);
	metrics_concurrency_active(worker, label("api"), 1);
	metrics_concurrency_active(worker, label("api"), -1);
	metrics_shed(worker, label("api"), PRIORITY_LOW, 1);
	char *text = exposed(&worker, 1, NULL, 0);
	static const char *const lines[] = {
	        "tollgate_requests_total{listener=\"edge\",route=\"user.UserService/Login\","
	        "protocol=\"grpc\",code=\"0\"} 2",
	        "tollgate_requests_total{listener=\"edge\",route=\"/api/*\",protocol=\"http1\","
	        "code=\"200\"} 1",
	        "tollgate_requests_total{listener=\"edge\",route=\"/api/*\",protocol=\"http2\","
	        "code=\"404\"} 1",
	        "tollgate_request_duration_seconds_count{route=\"/api/*\"} 2",
	        "tollgate_request_duration_seconds_sum{route=\"user.UserService/Login\"} "
	        "0.002000000",
	        "tollgate_upstream_concurrency_limit{backend=\"api\"} 48",
	        "tollgate_upstream_concurrency_active{backend=\"api\"} 1",
	        "tollgate_upstream_shed_total{backend=\"api\",priority=\"low\"} 1",
	        "tollgate_rejections_total{listener=\"edge\",reason=\"certificate_expired\"} 1",
	        "tollgate_rate_limit_decisions_total{route=\"user.UserService/Login\","
	        "limit=\"rate_limits[0]\",decision=\"allowed\"} 1",
	        "tollgate_rate_limit_decisions_total{route=\"user.UserService/Login\","
	        "limit=\"rate_limits[0]\",decision=\"refused\"} 1",
	        "tollgate_tls_handshakes_total{listener=\"edge\",result=\"ok\"} 1",
	        "tollgate_tls_handshakes_total{listener=\"edge\",result=\"tls_failed\"} 1",
	        "tollgate_connections_active{listener=\"edge\"} 1",
	        "tollgate_upstream_requests_total{backend=\"api\",endpoint=\"127.0.0.1:8080\","
	        "code=\"502\"} 1",
	        "tollgate_upstream_requests_total{backend=\"api\",endpoint=\"127.0.0.1:8080\","
	        "code=\"connect_failed\"} 1",
	        "tollgate_upstream_duration_seconds_count{backend=\"api\"} 2",
	};
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_line(text, lines[i]);
	assert_well_formed(text);
	free(text);
	metrics_free(worker);
}

struct tour {
	uint64_t requests, first_bucket, refusals;
	int open;
	size_t visits;
};

static void visit(const struct series *series, const struct metric_sum *sum, void *argument)
{
	struct tour *tour = argument;
	tour->visits++;
	switch ((int)series->metric) {
	case METRIC_requests_total:
		tour->requests += sum->values[0];
		break;
	case METRIC_request_duration_seconds:
		tour->first_bucket = sum->values[0];
		assert_int_equal(sum->sum_ns, 300);
		break;
	case METRIC_rejections_total:
		tour->refusals = sum->values[0];
		break;
	case METRIC_upstream_connections_active:
		tour->open = (int)(int64_t)sum->values[0];
		break;
	}
}

static void a_tour_of_all_series_meets_what_a_scrape_does(void **state)
{
	(void)state;
	struct metrics *workers[] = {metrics_new(), metrics_new()};
	const char *edge = label("edge"), *route = label("/x"), *api = label("api");
	struct tour tour = {0};
	metrics_request(workers[0], edge, route, METRICS_HTTP1, 200, 100);
	metrics_request(workers[1], edge, route, METRICS_HTTP1, 200, 200);
	metrics_rejection(workers[1], edge, REASON_no_route);
	metrics_upstream_connections(workers[0], api, label("a:1"), 1);
	metrics_upstream_connections(workers[0], api, label("a:1"), 1);
	metrics_upstream_connections(workers[0], api, label("a:1"), -1);
	metrics_each(workers, 2, visit, &tour);
	assert_int_equal(tour.visits, 10);  // four, and six that are there from the start
	assert_int_equal(tour.requests, 2);
	assert_int_equal(tour.first_bucket, 2);
	assert_int_equal(tour.refusals, 1);
	assert_int_equal(tour.open, 1);
	char *text = exposed(workers, 2, NULL, 0);
	assert_line(
	        text, "tollgate_upstream_connections_active{backend=\"api\",endpoint=\"a:1\"} 1");
	free(text);
	metrics_free(workers[0]);
	metrics_free(workers[1]);
}

static void a_duration_falls_into_the_first_bucket_that_holds_it(void **state)
{
	(void)state;
	static const struct {
		int64_t ns;
		const char *le;
	} rows[] = {
	        {-1, "0.0005"},
	        {0, "0.0005"},
	        {500000, "0.0005"},
	        {500001, "0.001"},
	        {1000000, "0.001"},
	        {1000001, "0.0025"},
	        {2500000, "0.0025"},
	        {5000000, "0.005"},
	        {10000000, "0.01"},
	        {25000000, "0.025"},
	        {50000000, "0.05"},
	        {100000000, "0.1"},
	        {250000000, "0.25"},
	        {500000000, "0.5"},
	        {1000000000, "1"},
	        {2500000000, "2.5"},
	        {5000000000, "5"},
	        {10000000000, "10"},
	        {10000000001, "+Inf"},
	        {INT64_MAX, "+Inf"},
	};
	static const char *const bounds[] = {"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
	        "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct metrics *worker = metrics_new();
		metrics_upstream(worker, label("api"), label("e"), 200, NULL, rows[i].ns);
		char *text = exposed(&worker, 1, NULL, 0);
		int expected = 0;
		for (size_t k = 0; k < ARRAY_LEN(bounds); k++) {
			char line[128];
			expected |= strcmp(bounds[k], rows[i].le) == 0;
			snprintf(line, sizeof(line),
			        "tollgate_upstream_duration_seconds_bucket{backend=\"api\",le=\"%"
			        "s\"} %d",
			        bounds[k], expected);
			assert_line(text, line);
		}
		free(text);
		metrics_free(worker);
	}
}

static void equal_series_of_workers_are_added_up(void **state)
{
	(void)state;
	struct metrics *workers[] = {metrics_new(), metrics_new(), metrics_new()};
	char twice[] = "ok";  // the text of "ok" at another address
	metrics_handshake(workers[0], label("edge"), "ok");
	metrics_handshake(workers[0], label("edge"), twice);
	metrics_handshake(workers[2], label("edge"), "ok");
	metrics_connections(workers[0], label("edge"), 1);
	metrics_connections(workers[1], label("edge"), -1);  // more closed here than opened
	metrics_upstream(workers[0], label("api"), label("e"), 200, NULL, NS_PER_S);
	metrics_upstream(workers[1], label("api"), label("e"), 200, NULL, NS_PER_S / 2);
	char *text = exposed(workers, ARRAY_LEN(workers), NULL, 0);
	assert_line(text, "tollgate_tls_handshakes_total{listener=\"edge\",result=\"ok\"} 3");
	assert_line(text, "tollgate_connections_active{listener=\"edge\"} 0");
	assert_line(text, "tollgate_upstream_duration_seconds_sum{backend=\"api\"} 1.500000000");
	assert_well_formed(text);
	free(text);
	for (size_t i = 0; i < ARRAY_LEN(workers); i++)
		metrics_free(workers[i]);
}

static void the_order_of_first_use_does_not_show(void **state)
{
	(void)state;
	static const char *const words[] = {"b", "a", "c", "ab", "B", "\xc3\xa9"};
	struct metrics *forwards = metrics_new(), *backwards = metrics_new();
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		metrics_rejection(forwards, label(words[i]), REASON_no_route);
		metrics_handshake(forwards, label(words[i]), "ok");
	}
	for (size_t i = ARRAY_LEN(words); i-- > 0;) {
		metrics_handshake(backwards, label(words[i]), "ok");
		metrics_rejection(backwards, label(words[i]), REASON_no_route);
	}
	char *one = exposed(&forwards, 1, NULL, 0), *other = exposed(&backwards, 1, NULL, 0);
	assert_string_equal(one, other);
	free(one);
	free(other);
	metrics_free(forwards);
	metrics_free(backwards);
}

static void label_values_cannot_break_out(void **state)
{
	(void)state;
	struct metrics *worker = metrics_new();
	metrics_handshake(worker, label("a\"} 1\nx{b=\"\\"), "ok");
	char *text = exposed(&worker, 1, NULL, 0);
	assert_line(text, "tollgate_tls_handshakes_total{listener=\"a\\\"} 1\\nx{b=\\\"\\\\\","
	                  "result=\"ok\"} 1");
	assert_well_formed(text);
	free(text);
	metrics_free(worker);
}

static void codes_that_are_none_share_one_series(void **state)
{
	(void)state;
	static const struct {
		enum metrics_protocol protocol;
		int code;
		const char *word;
	} rows[] = {
	        {METRICS_HTTP1, 0, "none"},
	        {METRICS_HTTP1, 99, "other"},
	        {METRICS_HTTP1, 100, "100"},
	        {METRICS_HTTP2, 599, "599"},
	        {METRICS_HTTP2, 600, "other"},
	        {METRICS_HTTP2, -1, "other"},
	        {METRICS_GRPC, 0, "0"},
	        {METRICS_GRPC, 16, "16"},
	        {METRICS_GRPC, 17, "other"},
	        {METRICS_GRPC, -1, "other"},
	        {METRICS_GRPC, INT32_MAX, "other"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		static const char *const protocols[] = {"http1", "http2", "grpc"};
		struct metrics *worker = metrics_new();
		char line[128];
		metrics_request(worker, label("l"), label("r"), rows[i].protocol, rows[i].code, 0);
		char *text = exposed(&worker, 1, NULL, 0);
		snprintf(line, sizeof(line),
		        "tollgate_requests_total{listener=\"l\",route=\"r\",protocol=\"%s\","
		        "code=\"%s\"} 1",
		        protocols[rows[i].protocol], rows[i].word);
		assert_line(text, line);
		free(text);
		metrics_free(worker);
	}
}

static void gauges_come_with_their_values(void **state)
{
	(void)state;
	static const struct metrics_gauge gauges[] = {
	        {"certificate_expiry_timestamp_seconds", "{listener=\"edge\",role=\"b\"}", 2e9},
	        {"tollgate_certificate_expiry_timestamp_seconds", "{listener=\"edge\",role=\"a\"}",
	                1795451400},
	        {"build_info", "{version=\"1\"}", 1},
	        {"tollgate_config_last_reload_success", "", 0},
	        {"audit_records_total", "", 9007199254740991.0},
	        {"audit_write_failures_total", "", 0.5},
	        {"connections_active", "{listener=\"x\"}", INFINITY},
	        {"connections_active", "{listener=\"y\"}", NAN},
	        {"connections_active", "{listener=\"z\"}", -3},
	};
	static const char *const lines[] = {
	        "tollgate_certificate_expiry_timestamp_seconds{listener=\"edge\",role=\"a\"} "
	        "1795451400\ntollgate_certificate_expiry_timestamp_seconds{listener=\"edge\","
	        "role=\"b\"} 2000000000",
	        "tollgate_build_info{version=\"1\"} 1",
	        "tollgate_config_last_reload_success 0",
	        "tollgate_audit_records_total 9007199254740991",
	        "tollgate_audit_write_failures_total 0.5",
	        "tollgate_connections_active{listener=\"x\"} +Inf",
	        "tollgate_connections_active{listener=\"y\"} NaN",
	        "tollgate_connections_active{listener=\"z\"} -3",
	};
	char *text = exposed(NULL, 0, gauges, ARRAY_LEN(gauges));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_line(text, lines[i]);
	assert_well_formed(text);
	free(text);
}

static void many_series_are_each_exact(void **state)
{
	(void)state;
	struct metrics *worker = metrics_new();
	char word[32];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < ROUNDS; i++) {
			snprintf(word, sizeof(word), "r%d", i);
			for (int times = 0; times <= i % 3; times++)
				metrics_rejection(worker, label(word), REASON_rate_limited);
		}
	}
	char *text = exposed(&worker, 1, NULL, 0);
	for (int i = 0; i < ROUNDS; i += 97) {
		char line[128];
		snprintf(line, sizeof(line),
		        "tollgate_rejections_total{listener=\"r%d\",reason=\"rate_limited\"} %d", i,
		        3 * (1 + i % 3));
		assert_line(text, line);
	}
	free(text);
	metrics_free(worker);
}

static void counting_a_known_series_allocates_nothing(void **state)
{
	(void)state;
	struct metrics *worker = metrics_new();
	const char *edge = label("edge"), *route = label("r");
	metrics_request(worker, edge, route, METRICS_GRPC, 0, 1);
	struct mallinfo2 before = mallinfo2();
	for (int i = 0; i < ROUNDS; i++)
		metrics_request(worker, edge, route, METRICS_GRPC, 0, i);
	struct mallinfo2 after = mallinfo2();
	assert_int_equal(before.uordblks, after.uordblks);
	metrics_free(worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_empty_exposition_names_every_metric),
	        cmocka_unit_test(each_call_counts_its_series),
	        cmocka_unit_test(a_tour_of_all_series_meets_what_a_scrape_does),
	        cmocka_unit_test(a_duration_falls_into_the_first_bucket_that_holds_it),
	        cmocka_unit_test(equal_series_of_workers_are_added_up),
	        cmocka_unit_test(the_order_of_first_use_does_not_show),
	        cmocka_unit_test(label_values_cannot_break_out),
	        cmocka_unit_test(codes_that_are_none_share_one_series),
	        cmocka_unit_test(gauges_come_with_their_values),
	        cmocka_unit_test(many_series_are_each_exact),
	        cmocka_unit_test(counting_a_known_series_allocates_nothing),
	};
	return cmocka_run_group_tests_name("metrics", tests, compile_patterns, free_patterns);
}

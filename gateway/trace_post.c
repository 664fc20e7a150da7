#include "gateway/trace_post.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/libcurl.h"
#include "gateway/version.h"

enum {
	ANSWER_BYTES_MAX = 64 << 10,  // an ExportTraceServiceResponse is a line or nothing
	RESOLVED_S = 60,              // then a name is asked for again
	ADDRESSES_MAX = 16,
};

struct trace_post {
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers, *addresses;
	const struct config_tracing *config;
	int64_t resolved_ns;  // 0: to be resolved
	struct buffer body;
	char error[CURL_ERROR_SIZE];
};

// libcurl is out of memory or built without what it must have.
static void set_up(CURLcode code)
{
	CHECK(code == CURLE_OK);
}

// curl.h looks at what an option is given only where it sees libcurl's own function called.
static void set_long(CURL *easy, CURLoption option, long value)
{
	CHECK(option < CURLOPTTYPE_OBJECTPOINT);
	set_up(libcurl.easy_setopt(easy, option, value));
}

static void set_pointer(CURL *easy, CURLoption option, const void *value)
{
	CHECK(option >= CURLOPTTYPE_OBJECTPOINT && option < CURLOPTTYPE_FUNCTIONPOINT);
	set_up(libcurl.easy_setopt(easy, option, value));
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *argument)
{
	struct trace_post *post = argument;
	if (buffer_len(&post->body) + size * count > ANSWER_BYTES_MAX)
		return CURL_WRITEFUNC_ERROR;
	buffer_append(&post->body, bytes, size * count);
	return size * count;
}

bool trace_post_prepare(const struct config_tracing *config, struct config_problems *problems)
{
	const char *why = config->endpoint.text.len ? libcurl_load() : NULL;
	if (why)
		config_problem_add(problems, config->mark, STR("tracing"),
		        "cannot be had without libcurl, which does not load: %s; expected the "
		        "library to be installed (on Debian libcurl4)",
		        why);
	return !why;
}

struct trace_post *trace_post_new(void)
{
	CHECK(libcurl.global_init(CURL_GLOBAL_DEFAULT) == 0);
	struct trace_post *post = must_alloc(sizeof(*post));
	post->multi = libcurl.multi_init();
	post->easy = libcurl.easy_init();
	CHECK(post->multi && post->easy);
	return post;
}

static void drop_lists(struct trace_post *post)
{
	libcurl.slist_free_all(post->headers);
	libcurl.slist_free_all(post->addresses);
	post->headers = post->addresses = NULL;
}

void trace_post_free(struct trace_post *post)
{
	libcurl.easy_cleanup(post->easy);
	libcurl.multi_cleanup(post->multi);
	libcurl.global_cleanup();
	drop_lists(post);
	buffer_fini(&post->body);
	free(post);
}

static void append(struct curl_slist **list, const char *text)
{
	struct curl_slist *longer = libcurl.slist_append(*list, text);
	CHECK(longer);
	*list = longer;
}

static void set_headers(struct trace_post *post)
{
	append(&post->headers, "Content-Type: application/x-protobuf");
	append(&post->headers, "Expect:");  // a large batch would wait for a 100
	for (size_t i = 0; i < post->config->header_count; i++) {
		const struct config_header *header = &post->config->headers[i];
		struct buffer line = {0};
		buffer_printf(
		        &line, "%.*s: %.*s", STR_FMT(header->name.text), STR_FMT(header->value));
		buffer_append(&line, "", 1);
		append(&post->headers, buffer_data(&line));
		buffer_fini(&line);
	}
	set_pointer(post->easy, CURLOPT_HTTPHEADER, post->headers);
}

static void set_options(struct trace_post *post)
{
	CURL *easy = post->easy;
	char agent[128];
	snprintf(agent, sizeof(agent), "tollgate/%s", version_text());
	set_pointer(easy, CURLOPT_URL, post->config->endpoint.text.at);
	set_pointer(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	set_long(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	set_long(easy, CURLOPT_POST, 1);
	set_pointer(easy, CURLOPT_USERAGENT, agent);
	set_pointer(easy, CURLOPT_PROXY, "");
	set_long(easy, CURLOPT_NOSIGNAL, 1);
	set_up(libcurl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes));
	set_pointer(easy, CURLOPT_WRITEDATA, post);
	set_pointer(easy, CURLOPT_ERRORBUFFER, post->error);
	if (!post->config->endpoint.https)
		return;
	set_pointer(easy, CURLOPT_CAINFO, post->config->trusted_ca.text.at);
	set_pointer(easy, CURLOPT_CAPATH, NULL);
	set_long(easy, CURLOPT_CA_CACHE_TIMEOUT, 0);  // a replaced file counts
	set_long(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
}

void trace_post_aim(struct trace_post *post, const struct config_tracing *config)
{
	libcurl.easy_cleanup(post->easy);  // with its connection and what it knows of the name
	post->easy = libcurl.easy_init();
	CHECK(post->easy);
	drop_lists(post);
	post->config = config;
	post->resolved_ns = 0;
	set_options(post);
	set_headers(post);
}

// The addresses of the name as libcurl takes them: `name:port:address,address`.
static bool write_addresses(const char *name, uint16_t port, struct buffer *out, const char **why)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *found;
	int error = getaddrinfo(name, NULL, &hints, &found);
	if (error) {
		*why = gai_strerror(error);
		return false;
	}
	buffer_printf(out, "%s:%u:", name, port);
	int count = 0;
	for (struct addrinfo *at = found; at && count < ADDRESSES_MAX; at = at->ai_next) {
		char text[INET6_ADDRSTRLEN + 1];
		if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), NULL, 0,
		            NI_NUMERICHOST) != 0)
			continue;
		bool v6 = at->ai_family == AF_INET6;
		buffer_printf(
		        out, "%s%s%s%s", count++ ? "," : "", v6 ? "[" : "", text, v6 ? "]" : "");
	}
	buffer_append(out, "", 1);
	freeaddrinfo(found);
	*why = "the name has no address";
	return count > 0;
}

static bool is_number(const char *host)
{
	struct in6_addr address;
	return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool resolve(struct trace_post *post, const char **why)
{
	const struct config_url *url = &post->config->endpoint;
	int64_t now_ns = clock_monotonic_ns();
	if (is_number(url->host.at) ||
	        (post->resolved_ns && now_ns - post->resolved_ns < (int64_t)RESOLVED_S * NS_PER_S))
		return true;
	struct buffer entry = {0};
	bool good = write_addresses(url->host.at, url->port, &entry, why);
	if (good) {
		libcurl.slist_free_all(post->addresses);
		post->addresses = NULL;
		append(&post->addresses, buffer_data(&entry));
		set_pointer(post->easy, CURLOPT_RESOLVE, post->addresses);
		post->resolved_ns = clock_monotonic_ns();
	}
	buffer_fini(&entry);
	return good;
}

// False when the time is over first, or libcurl has no way to go on.
static bool run(struct trace_post *post, int64_t (*until_ns)(void *argument), void *argument)
{
	for (;;) {
		int running;
		if (libcurl.multi_perform(post->multi, &running) != CURLM_OK)
			return false;
		if (!running)
			return true;
		int64_t left_ns = until_ns(argument) - clock_monotonic_ns();
		if (left_ns <= 0)
			return false;
		int left_ms = (int)(left_ns / NS_PER_MS) + 1;
		if (libcurl.multi_poll(post->multi, NULL, 0, left_ms, NULL) != CURLM_OK)
			return false;
	}
}

static CURLcode result_of(struct trace_post *post)
{
	int left;
	for (CURLMsg *message; (message = libcurl.multi_info_read(post->multi, &left));)
		if (message->msg == CURLMSG_DONE)
			return message->data.result;
	return CURLE_OPERATION_TIMEDOUT;
}

static void judge_status(struct trace_post *post, struct trace_post_answer *answer)
{
	long status = 0;
	curl_off_t retry_s = 0;
	enum { RETRY_S_MAX = 3600 };
	set_up(libcurl.easy_getinfo(post->easy, CURLINFO_RESPONSE_CODE, &status));
	set_up(libcurl.easy_getinfo(post->easy, CURLINFO_RETRY_AFTER, &retry_s));
	if (status >= 200 && status < 300) {
		answer->result = TRACE_POST_TAKEN;
		return;
	}
	bool again = status == 429 || (status >= 502 && status <= 504);
	answer->result = again ? TRACE_POST_AGAIN : TRACE_POST_REFUSED;
	answer->retry_after_ns = (retry_s < RETRY_S_MAX ? retry_s : RETRY_S_MAX) *
	                         (int64_t)NS_PER_S;
	snprintf(answer->why, sizeof(answer->why), "the collector answers %ld", status);
}

void trace_post_send(struct trace_post *post, struct str body, int64_t (*until_ns)(void *argument),
        void *argument, struct trace_post_answer *answer)
{
	const char *why;
	*answer = (struct trace_post_answer){.result = TRACE_POST_AGAIN};
	buffer_clear(&post->body);
	post->error[0] = '\0';
	if (!resolve(post, &why)) {
		snprintf(answer->why, sizeof(answer->why), "%s: %s", post->config->endpoint.host.at,
		        why);
		return;
	}
	set_pointer(post->easy, CURLOPT_POSTFIELDS, body.at);
	set_up(libcurl.easy_setopt(post->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len));
	CHECK(libcurl.multi_add_handle(post->multi, post->easy) == CURLM_OK);
	bool ended = run(post, until_ns, argument);
	CURLcode code = ended ? result_of(post) : CURLE_OPERATION_TIMEDOUT;
	CHECK(libcurl.multi_remove_handle(post->multi, post->easy) == CURLM_OK);
	if (code == CURLE_OK) {
		judge_status(post, answer);
	} else {
		post->resolved_ns = 0;
		snprintf(answer->why, sizeof(answer->why), "%s",
		        ended && post->error[0] ? post->error : libcurl.easy_strerror(code));
	}
	answer->body = buffer_str(&post->body);
}

void trace_post_wake(struct trace_post *post)
{
	(void)libcurl.multi_wakeup(post->multi);
}

#include "conf/schema_row.h"
#include "conf/value.h"

enum { ON_MAX = 64, TRIES_MAX = 4, BUFFER_MAX = 4 << 20, STATUS_DIGITS = 3 };

// By number, as gRPC's doc/statuscodes.md has them; OK is no failure.
static const char *const grpc_words[] = {NULL, "cancelled", "unknown", "invalid_argument",
        "deadline_exceeded", "not_found", "already_exists", "permission_denied",
        "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
        "internal", "unavailable", "data_loss", "unauthenticated"};

// False for what is no word of `on`.
static bool take_word(struct str word, struct config_retry *retry)
{
	uint64_t status;
	retry->reset |= str_eq(word, STR("reset"));
	retry->timeout |= str_eq(word, STR("timeout"));
	if (str_eq(word, STR("reset")) || str_eq(word, STR("timeout")))
		return true;
	for (size_t i = 1; i < ARRAY_LEN(grpc_words); i++)
		if (str_eq(word, str_from(grpc_words[i]))) {
			retry->grpc_statuses |= UINT32_C(1) << i;
			return true;
		}
	if (word.len != STATUS_DIGITS || !value_count(word, &status) ||
	        status < RETRY_STATUS_FIRST || status > RETRY_STATUS_LAST)
		return false;
	status -= RETRY_STATUS_FIRST;
	retry->statuses[status / 64] |= UINT64_C(1) << status % 64;
	return true;
}

static bool set_failure(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_retry scratch = {0};
	if (!take_word(node->text, &scratch))
		return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

static const struct schema_type type_failure = {.name = "failure",
        .expected = "reset, timeout, an HTTP status from 400 to 599, or a gRPC status such as "
                    "unavailable",
        .set = set_failure,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = 32};

static bool shown_retry_key(const void *base)
{
	return ((const struct config_retry *)base)->tries > 0;
}

static void check_retry(struct reader *reader, const struct tree *node, void *base)
{
	static const char *const usual[] = {"reset", "502", "503", "504", "unavailable"};
	struct config_retry *retry = base;
	for (size_t i = 0; i < retry->on.count; i++)
		(void)!take_word(retry->on.items[i].text, retry);
	for (size_t i = 0; !tree_get(node, "on") && i < ARRAY_LEN(usual); i++)
		CHECK(take_word(str_from(usual[i]), retry));
	if (retry->timeout && !retry->per_try_timeout_ns && !tree_get(node, "per_try_timeout"))
		reader_problem_at(reader, node, "on",
		        "has timeout, which can have no effect without per_try_timeout; expected "
		        "that given, or timeout left out");
}

static const struct schema_key retry_keys[] = {
        {"on", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_failure),
                AT(config_retry, on), RANGE(1, ON_MAX),
                DOC("What another attempt is made for. `reset`: the connection or the call ended "
                    "before an answer; `timeout`: `per_try_timeout`; an HTTP status; a gRPC "
                    "status, in small letters, of a call that ended with it at once. Without the "
                    "key `[reset, 502, 503, 504, unavailable]`.")},
        {"tries", TYPE(type_count), AT(config_retry, tries), RANGE(2, TRIES_MAX), .fallback = "2",
                .shown = shown_retry_key,
                DOC("Attempts in all, at endpoints not tried yet where there are any. Besides, "
                    "what "
                    "a backend certainly did not act on is tried elsewhere at once, up to four "
                    "attempts in all.")},
        {"per_try_timeout", TYPE(type_duration), AT(config_retry, per_try_timeout_ns),
                RANGE(0, HOUR_NS), .fallback = "0s", .shown = shown_retry_key,
                DOC("From an attempt's beginning to the head of its answer, with what is still to "
                    "come of the request: nothing for slow uploads, nor for streams that are "
                    "answered at their end. 0 is off. Another attempt follows where `on` has "
                    "`timeout`; else, and for the last one, the call fails with `per_try_timeout`, "
                    "as 504 or DEADLINE_EXCEEDED.")},
        {"non_idempotent", TYPE(type_flag), AT(config_retry, non_idempotent), .fallback = "false",
                .shown = shown_retry_key,
                DOC("Repeats POST, PATCH and the like too, which a backend may then carry out "
                    "twice. gRPC calls are repeated in any case.")},
        {"backoff", TYPE(type_duration), AT(config_retry, backoff_ns), RANGE(0, 10 * 1000 * MS_NS),
                .fallback = "25ms", .shown = shown_retry_key,
                DOC("At most so long before the second attempt, at random; twice as long before "
                    "each further one, up to ten times. A server's `grpc-retry-pushback-ms` counts "
                    "instead: longer than that, or negative, is a no. What would come after the "
                    "call's deadline is not waited for.")},
        {"budget", TYPE(type_count), AT(config_retry, budget), RANGE(0, 100), .fallback = "20",
                .shown = shown_retry_key,
                DOC("Of a hundred calls that a worker has under way at the backend, how many may "
                    "be repeats; three of each worker always may.")},
        {"buffer", TYPE(type_size), AT(config_retry, buffer), RANGE(0, BUFFER_MAX),
                .fallback = "64KiB", .shown = shown_retry_key,
                DOC("Of a request's body, kept to be sent again; a call with more is not repeated "
                    "once the backend has taken of it.")},
};

const struct schema_object schema_retry = {
        DOC("Another attempt where the backend failed before its answer began. The route's "
            "`timeout` and a call's deadline are over all attempts together; a rate limit is paid "
            "once. Not for requests that upgrade."),
        .size = sizeof(struct config_retry), KEYS(retry_keys), .check = check_retry};

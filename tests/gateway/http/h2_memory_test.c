// Server sessions that share a frame buffer, pulled in turn and frame by frame: each says its own.
#include "gateway/http/h2_memory.h"
#include "tests/gateway/http/side.h"

enum { SESSIONS = 3, HEAD_BYTES = 45000, BODY_BYTES = 50000 };

struct talkers {
	struct side client[SESSIONS], server[SESSIONS];
};

static const char *const letters[SESSIONS] = {"a", "b", "c"};

static void begin_answer(struct side *server, const char *letter)
{
	static char text[BODY_BYTES];
	struct user *user = user_at(server, 1);
	struct head head;
	memset(text, *letter, sizeof(text));
	head_answer(&head, 200);
	fields_add(&head.fields, &user->stream->arena, STR("x-long"), str_of(text, HEAD_BYTES));
	body_add(&user->source, str_of(text, sizeof(text)));
	user_trailer(user, "x-last", letter);
	user->source.ended = true;
	user->stream->source = &user->source;
	stream_send_head(user->stream, &head, false);
}

static uint64_t digest_of_body(const char *letter)
{
	uint64_t digest = 0;
	for (size_t i = 0; i < BODY_BYTES; i++)
		digest = digest_of(digest, str_of(letter, 1));
	return digest;
}

// One frame, or the part of a head that fits one.
static bool say_a_little(struct side *server)
{
	size_t before = buffer_len(&server->out);
	codec_pull(server->codec, before + 1);
	return buffer_len(&server->out) > before;
}

static void open_all(struct talkers *all)
{
	for (size_t i = 0; i < SESSIONS; i++) {
		side_open(&all->server[i], SERVER | H2, HABIT_WATCH);
		side_open(&all->client[i], CLIENT | H2, HABIT_WATCH);
	}
	for (size_t i = 0; i < SESSIONS; i++) {
		talk(&all->client[i], &all->server[i]);
		side_ask(&all->client[i], "GET", "/", -1, true);
		talk(&all->client[i], &all->server[i]);
	}
}

static void each_says_its_own(void **state)
{
	(void)state;
	struct talkers all;
	open_all(&all);
	for (size_t i = 0; i < SESSIONS; i++)
		begin_answer(&all.server[i], letters[i]);
	for (bool any = true; any;) {
		any = false;
		for (size_t i = 0; i < SESSIONS; i++)
			any |= say_a_little(&all.server[i]);
	}
	for (size_t i = 0; i < SESSIONS; i++) {
		talk(&all.client[i], &all.server[i]);
		const char *found = transcript(&all.client[i]);
		for (size_t k = 0; k < SESSIONS; k++) {
			char expected[32];
			snprintf(expected, sizeof(expected), "x-last: %s", letters[k]);
			assert_int_equal(strstr(found, expected) != NULL, k == i);
			memset(expected, *letters[k], sizeof(expected) - 1);
			expected[sizeof(expected) - 1] = 0;
			assert_int_equal(strstr(found, expected) != NULL, k == i);
		}
		assert_int_equal(user_at(&all.client[i], 1)->digest, digest_of_body(letters[i]));
	}
	for (size_t i = 0; i < SESSIONS; i++) {
		side_close(&all.client[i]);
		side_close(&all.server[i]);
	}
}

static int share(void **state)
{
	(void)state;
	h2_memory_share();
	return 0;
}

static int part(void **state)
{
	(void)state;
	h2_memory_part();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(each_says_its_own),
	        cmocka_unit_test_setup_teardown(each_says_its_own, share, part),
	};
	return cmocka_run_group_tests_name("h2_memory", tests, NULL, NULL);
}

// Of a body whose last bytes are held back nothing of those is sent, and its end is not told, until
// they are let go: over HTTP/1.1 and HTTP/2, in both directions, of known length and not.
#include "tests/gateway/http/side.h"

static uint64_t seed_state;

static unsigned dice(unsigned sides)
{
	seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed_state >> 33) % sides;
}

struct scene {
	int kind;
	bool server_sends, known, trailers;
	size_t total;
	struct side client, server;
	struct user *from, *to;
	size_t added, released;
	uint64_t digest;
};

static void open_scene(struct scene *scene, const char *method)
{
	int64_t length = scene->known ? (int64_t)scene->total : -1;
	struct head head;
	side_open(&scene->client, CLIENT | scene->kind, HABIT_WATCH);
	side_open(&scene->server, SERVER | scene->kind, HABIT_WATCH);
	scene->client.keeps_streams = scene->server.keeps_streams = true;
	scene->client.quiet = scene->server.quiet = true;
	scene->from = side_ask(&scene->client, method, "/", scene->server_sends ? -1 : length,
	        scene->server_sends);
	scene->to = scene->from;
	talk(&scene->client, &scene->server);
	if (!scene->server_sends) {
		scene->to = user_at(&scene->server, 1);
		return;
	}
	scene->from = user_at(&scene->server, 1);
	head_answer(&head, 200);
	head.content_length = length;
	scene->from->stream->source = &scene->from->source;
	stream_send_head(scene->from->stream, &head, false);
	talk(&scene->client, &scene->server);
}

static void close_scene(struct scene *scene)
{
	side_close(&scene->client);
	side_close(&scene->server);
}

static void add(struct scene *scene, size_t len)
{
	char piece[3000];
	for (size_t i = 0; i < len; i++)
		piece[i] = (char)((scene->added + i) * 31 >> 3);
	body_add(&scene->from->source, str_of(piece, len));
	scene->from->source.held += len;
	scene->added += len;
	scene->digest = digest_of(scene->digest, str_of(piece, len));
}

static void release(struct scene *scene, size_t len)
{
	scene->from->source.held -= len;
	scene->released += len;
}

static void end(struct scene *scene)
{
	if (scene->trailers)
		user_trailer(scene->from, "x-sum", "1");
	scene->from->source.ended = true;
}

// The last byte of a known length waits for the word that nothing follows, over HTTP/1.1.
static void assert_arrived(struct scene *scene, const char *what)
{
	const struct body *source = &scene->from->source;
	stream_wake(scene->from->stream);
	talk(&scene->client, &scene->server);
	size_t expected = scene->released;
	if (scene->kind == H1 && scene->known && !source->ended && expected == scene->total)
		expected--;
	bool whole = source->ended && !source->held;
	if (scene->to->received != expected || scene->to->whole != whole || scene->to->aborted)
		fail_msg("%s: %zu of %zu bytes came, %zu are held; %s", what, scene->to->received,
		        scene->added, source->held, scene->to->whole ? "whole" : "not whole");
}

static void play(struct scene *scene, unsigned seed)
{
	char what[80];
	seed_state = seed;
	scene->total = 1 + dice(40000);
	snprintf(what, sizeof(what), "seed %u: HTTP/%d, %s, %s", seed, scene->kind == H1 ? 1 : 2,
	        scene->server_sends ? "answer" : "request", scene->known ? "known" : "unknown");
	open_scene(scene, "POST");
	struct body *source = &scene->from->source;
	while (!source->ended || source->held) {
		size_t rest = scene->total - scene->added, piece = dice(3000);
		if (dice(2))
			add(scene, piece < rest ? piece : rest);
		if (dice(2))
			release(scene, dice(4) ? dice((unsigned)source->held + 1) : source->held);
		if (!source->ended && scene->added == scene->total && dice(3) == 0)
			end(scene);
		assert_arrived(scene, what);
	}
	assert_int_equal(scene->to->received, scene->total);
	assert_true(scene->to->digest == scene->digest);
	const char *log = transcript(scene->server_sends ? &scene->client : &scene->server);
	assert_true(!scene->trailers == !strstr(log, "x-sum: 1"));
	close_scene(scene);
}

static void nothing_held_is_sent_and_the_end_is_not_told_before(void **state)
{
	(void)state;
	for (int kind = H1; kind <= H2; kind += H2)
		for (unsigned form = 0; form < 8; form++)
			for (unsigned seed = 1; seed <= 60; seed++) {
				bool known = form & 2;
				struct scene scene = {.kind = kind,
				        .server_sends = form & 1,
				        .known = known,
				        .trailers = form & 4 && !(known && kind == H1)};
				play(&scene, seed);
			}
}

// Over before they are let go: never sent, and never whole.
static void what_is_held_at_a_reset_never_leaves(void **state)
{
	(void)state;
	for (int kind = H1; kind <= H2; kind += H2)
		for (unsigned form = 0; form < 8; form++) {
			struct scene scene = {.kind = kind,
			        .server_sends = form & 1,
			        .known = form & 2,
			        .total = 100};
			open_scene(&scene, "POST");
			add(&scene, 100);
			release(&scene, 40);
			end(&scene);
			assert_arrived(&scene, "before the reset");
			if (form & 4)
				stream_reset(scene.from->stream, ABORT_EXHAUSTED);
			user_release(scene.from);
			talk(&scene.client, &scene.server);
			side_end(scene.server_sends ? &scene.client : &scene.server);
			assert_int_equal(scene.to->received, 40);
			assert_true(scene.to->aborted && !scene.to->whole);
			close_scene(&scene);
		}
}

// To HEAD nothing is sent at all; but the answer is done only when its source is.
static void answers_to_head_have_no_body_to_hold(void **state)
{
	(void)state;
	struct scene scene = {.kind = H1, .server_sends = true, .known = true, .total = 100};
	open_scene(&scene, "HEAD");
	assert_true(scene.to->whole);
	add(&scene, 100);
	end(&scene);
	stream_wake(scene.from->stream);
	talk(&scene.client, &scene.server);
	assert_false(scene.from->stream->send_done);
	release(&scene, 100);
	stream_wake(scene.from->stream);
	talk(&scene.client, &scene.server);
	assert_true(scene.from->stream->send_done);
	assert_int_equal(scene.to->received, 0);
	close_scene(&scene);
}

// One that is held does not hold up the others, whatever the order they were asked in.
static void a_held_stream_holds_up_no_other(void **state)
{
	(void)state;
	enum { STREAMS = 20 };
	struct side client, server;
	struct user *from[STREAMS];
	side_open(&client, CLIENT | H2, HABIT_WATCH);
	side_open(&server, SERVER | H2, HABIT_ANSWER);
	server.quiet = true;
	talk(&client, &server);
	for (unsigned i = 0; i < STREAMS; i++) {
		from[i] = side_ask(&client, "POST", "/", -1, false);
		body_add(&from[i]->source, STR("0123456789"));
		from[i]->source.held = i % 2 ? 10 : i / 2;
		from[i]->source.ended = true;
		stream_wake(from[i]->stream);
		talk(&client, &server);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		const struct user *to = user_at(&server, i + 1);
		assert_int_equal(to->received, i % 2 ? 0 : 10 - i / 2);
		assert_int_equal(to->whole, i == 0);
	}
	for (unsigned i = STREAMS; i-- > 1;) {
		from[i]->source.held = 0;
		stream_wake(from[i]->stream);
		talk(&client, &server);
		assert_true(user_at(&server, i + 1)->whole);
	}
	side_close(&client);
	side_close(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(nothing_held_is_sent_and_the_end_is_not_told_before),
	        cmocka_unit_test(what_is_held_at_a_reset_never_leaves),
	        cmocka_unit_test(answers_to_head_have_no_body_to_hold),
	        cmocka_unit_test(a_held_stream_holds_up_no_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

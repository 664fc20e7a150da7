// Our client against our server, HTTP/1.1 and HTTP/2: everything that is sent arrives, nothing else
// does, the slow slow down only themselves, and no order of events leaves anything behind.
#include <stdio.h>

#include "tests/gateway/http/side.h"

struct pair {
	struct side client, server;
};

static uint64_t dice_state;

static unsigned dice(unsigned sides)
{
	dice_state = dice_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(dice_state >> 33) % sides;
}

static void open_pair(struct pair *pair, int protocol)
{
	side_open(&pair->client, CLIENT | protocol, HABIT_WATCH);
	side_open(&pair->server, SERVER | protocol, HABIT_WATCH);
	pair->client.quiet = pair->server.quiet = true;
	talk(&pair->client, &pair->server);
}

static void close_pair(struct pair *pair)
{
	side_close(&pair->client);
	side_close(&pair->server);
}

// What is still to be said on one stream, in random portions.
struct speech {
	struct user *user;
	size_t left;
	uint64_t digest;
};

static void speak(struct speech *speech)
{
	char bytes[5000];
	size_t len = 1 + dice(sizeof(bytes));
	if (len > speech->left)
		len = speech->left;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)dice(256);
	speech->left -= len;
	speech->digest = digest_of(speech->digest, str_of(bytes, len));
	struct user *user = speech->user;
	body_add(&user->source, str_of(bytes, len));
	user->source.ended = speech->left == 0;
	stream_wake(user->stream);
}

enum { CONVERSATIONS = 20 };

struct conversation {
	struct speech question, answer;
	bool answering;
};

static void begin_answer(struct pair *pair, struct conversation *conversation, unsigned number)
{
	struct head head;
	head_answer(&head, 200);
	conversation->answer.user = user_at(&pair->server, number);
	conversation->answer.left = 1 + dice(150000);
	if (dice(2))
		head.content_length = (int64_t)conversation->answer.left;
	else
		user_trailer(conversation->answer.user, "x-sum", "answer");
	conversation->answer.user->stream->source = &conversation->answer.user->source;
	stream_send_head(conversation->answer.user->stream, &head, false);
	conversation->answering = true;
}

static void many_conversations_at_once_arrive_whole(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct pair pair;
		struct conversation all[CONVERSATIONS] = {0};
		dice_state = seed;
		open_pair(&pair, H2);
		pair.client.keeps_streams = pair.server.keeps_streams = true;
		for (unsigned i = 0; i < CONVERSATIONS; i++) {
			size_t len = 1 + dice(150000);
			all[i].question.left = len;
			all[i].question.user = side_ask(
			        &pair.client, "POST", "/", dice(2) ? (int64_t)len : -1, false);
			user_trailer(all[i].question.user, "x-sum", "question");
		}
		talk(&pair.client, &pair.server);
		for (size_t left = 1; left;) {
			left = 0;
			for (unsigned i = 0; i < CONVERSATIONS; i++) {
				struct conversation *one = &all[i];
				if (!one->answering && dice(4) == 0)
					begin_answer(&pair, one, i + 1);
				if (one->question.left && dice(2))
					speak(&one->question);
				if (one->answering && one->answer.left && dice(2))
					speak(&one->answer);
				left += one->question.left + one->answer.left + !one->answering;
			}
			carry(&pair.client, &pair.server, 1 + dice(20000));
			carry(&pair.server, &pair.client, 1 + dice(20000));
		}
		talk(&pair.client, &pair.server);
		for (unsigned i = 0; i < CONVERSATIONS; i++) {
			struct user *asked = user_at(&pair.client, i + 1);
			struct user *answered = user_at(&pair.server, i + 1);
			assert_true(asked->whole && answered->whole);
			assert_true(answered->digest == all[i].question.digest);
			assert_true(asked->digest == all[i].answer.digest);
			user_release(asked);
			user_release(answered);
		}
		talk(&pair.client, &pair.server);
		assert_int_equal(pair.client.codec->stream_count, 0);
		assert_int_equal(pair.server.codec->stream_count, 0);
		assert_null(strstr(transcript(&pair.client), "aborted"));
		close_pair(&pair);
	}
}

// Bytes that have left the source and were not taken at the other end.
static size_t ahead(const struct user *from, const struct user *to)
{
	return from->source.total_taken - (to->received - to->uncredited);
}

static void fill(struct user *user, size_t bytes)
{
	char block[16384] = {0};
	for (size_t sent = 0; sent < bytes; sent += sizeof(block))
		body_add(&user->source, str_of(block, sizeof(block)));
	stream_wake(user->stream);
}

static void a_reader_that_takes_nothing_gets_no_more_than_a_window(void **state)
{
	(void)state;
	for (int server_reads = 0; server_reads < 2; server_reads++) {
		struct pair pair;
		struct head head;
		open_pair(&pair, H2);
		struct user *asked = side_ask(&pair.client, "POST", "/", -1, false);
		struct user *other = side_ask(&pair.client, "POST", "/", -1, false);
		talk(&pair.client, &pair.server);
		struct user *answered = user_at(&pair.server, 1),
		            *another = user_at(&pair.server, 2);
		head_answer(&head, 200);
		answered->stream->source = &answered->source;
		another->stream->source = &another->source;
		stream_send_head(answered->stream, &head, false);
		stream_send_head(another->stream, &head, false);
		struct user *from = server_reads ? asked : answered,
		            *to = server_reads ? answered : asked;
		to->side->keeps_credit = true;
		fill(from, 4 << 20);
		talk(&pair.client, &pair.server);
		assert_int_equal(ahead(from, to), BODY_HIGH);
		assert_int_equal(to->received, BODY_HIGH);
		// The other stream of the same connection flows on.
		to->side->keeps_credit = false;
		from = server_reads ? other : another;
		struct user *reader = server_reads ? another : other;
		fill(from, 4 << 20);
		talk(&pair.client, &pair.server);
		assert_int_equal(reader->received, 4 << 20);
		// And the stalled one as soon as it is taken from.
		to->side->keeps_credit = false;
		stream_credit(to->stream, to->uncredited);
		to->uncredited = 0;
		talk(&pair.client, &pair.server);
		assert_int_equal(to->received, 4 << 20);
		close_pair(&pair);
	}
}

// A reader that takes in dribs and drabs gets all, never too much at once.
static void a_slow_reader_gets_everything_in_the_end(void **state)
{
	(void)state;
	struct pair pair;
	struct head head;
	dice_state = 7;
	open_pair(&pair, H2);
	pair.client.keeps_credit = true;
	struct user *asked = side_ask(&pair.client, "GET", "/", -1, true);
	talk(&pair.client, &pair.server);
	struct user *answered = user_at(&pair.server, 1);
	head_answer(&head, 200);
	answered->stream->source = &answered->source;
	stream_send_head(answered->stream, &head, false);
	fill(answered, 1 << 20);
	answered->source.ended = true;
	for (int turns = 0; !asked->whole; turns++) {
		assert_true(turns < 2000);
		talk(&pair.client, &pair.server);
		assert_true(ahead(answered, asked) <= BODY_HIGH);
		size_t count = asked->uncredited < 3000 ? asked->uncredited : 1 + dice(3000);
		if (asked->stream)
			stream_credit(asked->stream, count);
		asked->uncredited -= count;
	}
	assert_int_equal(asked->received, 1 << 20);
	close_pair(&pair);
}

static struct user *random_user(struct side *side)
{
	if (!side->user_count)
		return NULL;
	struct user *user = user_at(side, 1 + dice(side->user_count));
	return user->stream ? user : NULL;
}

static void random_deed_of_client(struct pair *pair)
{
	struct user *user = random_user(&pair->client);
	if (dice(3) == 0 && pair->client.codec->ops->room(pair->client.codec))
		side_ask(&pair->client, dice(3) ? "POST" : "HEAD", "/", -1, dice(2));
	if (!user)
		return;
	switch (dice(8)) {
	case 0:
		stream_reset(user->stream, dice(2) ? ABORT_CANCELLED : ABORT_BROKEN);
		break;
	case 1:
		user_release(user);
		break;
	case 2:
		if (!user->source.ended)
			user_trailer(user, "x", "y");
		break;
	default:
		if (!user->source.ended)
			user_say(user, "some words of a client", dice(6) == 0);
	}
}

static void random_deed_of_server(struct pair *pair)
{
	struct user *user = random_user(&pair->server);
	struct head head;
	if (!user)
		return;
	head_answer(&head, dice(4) ? 200 : 204);
	switch (dice(8)) {
	case 0:
		stream_reset(user->stream, dice(2) ? ABORT_CANCELLED : ABORT_CLOSED);
		break;
	case 1:
		user_release(user);
		break;
	case 2:
		head.status = 103;
		if (!user->stream->head_sent)
			stream_send_head(user->stream, &head, false);
		break;
	case 3:
		if (!user->stream->head_sent)
			user_answer(user, 403, "no");
		break;
	default:
		user->stream->source = &user->source;
		if (!user->stream->head_sent)
			stream_send_head(user->stream, &head, false);
		else if (!user->source.ended)
			user_say(user, "some words of a server", dice(6) == 0);
	}
}

static void any_order_of_deeds_leaves_nothing_behind(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 1500; seed++) {
		struct pair pair;
		dice_state = seed;
		open_pair(&pair, seed % 2 ? H1 : H2);
		unsigned last = 5 + dice(100);
		for (unsigned i = 0; i < last; i++) {
			random_deed_of_client(&pair);
			random_deed_of_server(&pair);
			if (dice(3) == 0)
				carry(&pair.client, &pair.server, 1 + dice(40));
			if (dice(3) == 0)
				carry(&pair.server, &pair.client, 1 + dice(40));
			if (dice(200) == 0)
				pair.server.codec->ops->shutdown(pair.server.codec);
			if (dice(200) == 0)
				side_end(dice(2) ? &pair.client : &pair.server);
		}
		talk(&pair.client, &pair.server);
		for (unsigned i = 1; i <= pair.client.user_count; i++)
			user_release(user_at(&pair.client, i));
		talk(&pair.client, &pair.server);
		for (unsigned i = 1; i <= pair.server.user_count; i++)
			user_release(user_at(&pair.server, i));
		talk(&pair.client, &pair.server);
		if (pair.client.codec->finished)  // its owner closes
			side_end(&pair.server);
		if (pair.client.codec->stream_count || pair.server.codec->stream_count)
			fail_msg("seed %u", seed);
		close_pair(&pair);
	}
}

// Whatever one side was told is whole, the other had sent as whole; nobody is left without a word.
static void every_request_comes_to_an_end_when_its_connection_does(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 400; seed++) {
		struct pair pair;
		dice_state = seed;
		open_pair(&pair, seed % 2 ? H1 : H2);
		pair.client.keeps_streams = pair.server.keeps_streams = true;
		unsigned last = 5 + dice(60);
		for (unsigned i = 0; i < last; i++) {
			random_deed_of_client(&pair);
			random_deed_of_server(&pair);
			carry(&pair.client, &pair.server, 1 + dice(40));
			carry(&pair.server, &pair.client, 1 + dice(40));
		}
		side_end(&pair.client);
		side_end(&pair.server);
		for (unsigned i = 1; i <= pair.client.user_count; i++) {
			struct user *user = user_at(&pair.client, i);
			if (user->stream && !user->whole && !user->aborted && !user->stream->over)
				fail_msg("seed %u: client %u hears nothing\n%s", seed, i,
				        transcript(&pair.client));
		}
		for (unsigned i = 1; i <= pair.server.user_count; i++) {
			struct user *user = user_at(&pair.server, i);
			bool told = user->aborted || !user->stream || user->stream->over ||
			            user->stream->send_done;
			if (!told)
				fail_msg("seed %u: server %u hears nothing\n%s", seed, i,
				        transcript(&pair.server));
		}
		close_pair(&pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(many_conversations_at_once_arrive_whole),
	        cmocka_unit_test(a_reader_that_takes_nothing_gets_no_more_than_a_window),
	        cmocka_unit_test(a_slow_reader_gets_everything_in_the_end),
	        cmocka_unit_test(any_order_of_deeds_leaves_nothing_behind),
	        cmocka_unit_test(every_request_comes_to_an_end_when_its_connection_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// A server session of ours in memory: raw bytes from the first on; or a real client whose bytes are
// changed on their way. Whatever comes, cut in any way, the session goes nowhere it must not: no
// plaintext that was not said, no open session without an agreed handshake, nothing after a fault.
//   choices \n raw bytes, or changes of three bytes each: where (two), and what to
#include "tests/fuzz/fuzz.h"
#include "tests/tls/gate.h"

static struct gate *gate;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	void *state;
	CHECK(gate_open(&state) == 0);
	gate = state;
	desk_fini(&gate->desk);
	return 0;
}

struct verdict {
	enum tls_status status;
	enum reason reason;
	size_t plain;
};

static struct verdict verdict_of(const struct tls_session *session, const struct buffer *plain)
{
	struct str detail = {0};
	struct verdict verdict = {.status = tls_status(session), .plain = buffer_len(plain)};
	verdict.reason = tls_fault(session, &detail);
	CHECK((verdict.status == TLS_FAILED) == (verdict.reason != REASON_NONE));
	CHECK(verdict.status != TLS_FAILED || detail.len);
	return verdict;
}

static struct verdict feed_raw(struct str bytes, size_t piece)
{
	struct buffer out = {0}, plain = {0};
	struct tls_session *session = tls_session_new(gate->context, &out, NULL, NULL);
	while (bytes.len) {
		size_t len = piece < bytes.len ? piece : bytes.len;
		struct str copy = own_copy(str_of(bytes.at, len));
		tls_feed(session, copy, &plain);
		own_free(copy);
		CHECK(ERR_peek_error() == 0);
		bytes = str_skip(bytes, len);
	}
	struct verdict verdict = verdict_of(session, &plain);
	CHECK(verdict.status != TLS_OPEN &&
	        verdict.status != TLS_ENDED);  // nobody guesses our keys
	CHECK(verdict.plain == 0);
	size_t said = buffer_len(&out);
	tls_feed(session, STR("after"), &plain);
	CHECK(verdict.status != TLS_FAILED || buffer_len(&out) == said);
	tls_session_free(session);
	buffer_fini(&out);
	buffer_fini(&plain);
	return verdict;
}

// Bytes at their place in all that the client sends become others.
static void change(struct str bytes, size_t sent, struct str changes)
{
	for (; changes.len >= 3; changes = str_skip(changes, 3)) {
		size_t at = (unsigned char)changes.at[0] * 256u + (unsigned char)changes.at[1];
		if (at >= sent && at < sent + bytes.len)
			((char *)(uintptr_t)bytes.at)[at - sent] = changes.at[2];
	}
}

static bool carry_changed(struct duel *duel, size_t *sent, struct str changes)
{
	char *bytes;
	BIO *bio = SSL_get_wbio(duel->client);
	long len = BIO_get_mem_data(bio, &bytes);
	if (len <= 0)
		return false;
	struct str copy = own_copy(str_of(bytes, (size_t)len));
	change(copy, *sent, changes);
	*sent += copy.len;
	(void)BIO_reset(bio);
	duel_feed(duel, copy);
	own_free(copy);
	return true;
}

static void pump_changed(struct duel *duel, size_t *sent, struct str changes)
{
	for (bool moved = true; moved;) {
		if (!duel->client_failed)
			duel_client_turn(duel);
		moved = carry_changed(duel, sent, changes);
		moved |= duel_carry_out(duel);
	}
}

static void meet(struct dice *choices, struct str changes)
{
	static const char words[] = "what the client says";
	struct duel duel;
	size_t sent = 0;
	struct duel_client client = {
	        .version = tls_versions[dice(choices, 2)], .alpn = STR("\x02h2")};
	gate_meet(gate, &duel, client);
	duel.stride = dice(choices, 2) ? -1 : 0;
	pump_changed(&duel, &sent, changes);
	if (SSL_is_init_finished(duel.client)) {
		(void)SSL_write(duel.client, words, (int)strlen(words));
		ERR_clear_error();
		pump_changed(&duel, &sent, changes);
	}
	struct verdict verdict = verdict_of(duel.session, &duel.plain);
	const struct tls_peer *peer = tls_session_peer(duel.session);
	CHECK(verdict.plain == 0 || str_eq(buffer_str(&duel.plain), STR(words)));
	if (changes.len < 3)
		CHECK(verdict.status == TLS_OPEN && verdict.plain == strlen(words));
	// An open session is one whose client proved its certificate, unchanged.
	if (verdict.status == TLS_OPEN && peer->reason == REASON_NONE)
		CHECK(str_eq(peer->uri, STR(WEB_ID)));
	if (verdict.status == TLS_OPEN)
		CHECK(tls_write(duel.session, STR("answer")));
	tls_close_notify(duel.session);
	duel_fini(&duel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size), choices = {dice_line(&all)};
	if (dice(&choices, 2)) {
		meet(&choices, dice_rest(&all));
		return 0;
	}
	struct str bytes = dice_rest(&all);
	struct verdict whole = feed_raw(bytes, SIZE_MAX);
	struct verdict pieces = feed_raw(bytes, 1 + dice(&choices, 64));
	CHECK(whole.status == pieces.status && whole.reason == pieces.reason);
	return 0;
}

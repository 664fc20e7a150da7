#include "gateway/outcome.h"

#include <stdio.h>

#include "tls/tls.h"

static const struct {
	const char *letters, *words;
} flags[RESPONSE_FLAG_COUNT] = {
#define RESPONSE_FLAG(letters, words, meaning) [RESPONSE_FLAG_##letters] = {#letters, words},
#include "base/response_flag.def"
#undef RESPONSE_FLAG
};

static bool lists(const char *words, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = words; *at; at += strspn(at, " ")) {
		size_t span = strcspn(at, " ");
		if (span == len && memcmp(at, word, len) == 0)
			return true;
		at += span;
	}
	return false;
}

static enum response_flag flag_of(const char *word)
{
	enum response_flag flag = 0;
	while (flag < RESPONSE_FLAG_COUNT && !lists(flags[flag].words, word))
		flag++;
	return flag;
}

// The end of the call's own time, and silence, end it with tries to spare.
static bool tried_out(const struct exchange *exchange)
{
	static const char causes[] = "connect_failed connect_timeout backend_tls_failed "
	                             "backend_refused backend_closed backend_reset "
	                             "backend_protocol_error per_try_timeout";
	return exchange->attempts > 1 && exchange->backend_failed && lists(causes, exchange->cause);
}

static void set_flags(const struct exchange *exchange, struct outcome *outcome)
{
	enum response_flag flag = RESPONSE_FLAG_COUNT;
	if (exchange->cause && strcmp(exchange->cause, "client_cancelled") == 0)
		flag = exchange->downstream->link.ended ? RESPONSE_FLAG_DC : RESPONSE_FLAG_DR;
	else if (exchange->cause)
		flag = flag_of(exchange->cause);
	else if (exchange->refused)
		flag = flag_of(reason_name(exchange->refused));
	if (flag == RESPONSE_FLAG_COUNT && exchange->cause && exchange->downstream->violated)
		flag = RESPONSE_FLAG_LR;  // cut with its connection, for what another call did
	if (flag == RESPONSE_FLAG_COUNT)
		return;
	bool all_failed = tried_out(exchange);
	snprintf(outcome->flags, sizeof(outcome->flags), "%s%s%s", flags[flag].letters,
	        all_failed ? "," : "", all_failed ? flags[RESPONSE_FLAG_URX].letters : "");
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

// The clock is read at other moments for each: a stage never takes less than nothing.
static void set_backend(const struct exchange *exchange, struct outcome *outcome)
{
	int64_t forwarded_ns = exchange->time.forwarded_ns, tried_ns = exchange->time.tried_ns;
	int64_t connected_ns = exchange->time.connected_ns;
	if (!forwarded_ns)
		return;
	outcome->decide_ns = later(forwarded_ns - exchange->time.start_ns, 0);
	outcome->retries = exchange->attempts ? (int)exchange->attempts - 1 : 0;
	outcome->backend = exchange_backend(exchange)->name.text;
	if (!connected_ns)
		return;
	outcome->reused = connected_ns <= tried_ns;
	connected_ns = later(connected_ns, tried_ns);
	outcome->connect_ns = connected_ns - forwarded_ns;
	if (!exchange->backend_status)
		return;
	int64_t answered_ns = later(exchange->time.answered_ns, connected_ns);
	outcome->backend_status = exchange->backend_status;
	outcome->first_byte_ns = answered_ns - connected_ns;
	if (exchange->time.done_ns)
		outcome->body_ns = later(exchange->time.done_ns - answered_ns, 0);
}

static void set_tls(const struct tls_session *tls, struct outcome *outcome)
{
	outcome->tls.version = tls_session_version(tls);
	outcome->tls.cipher = tls_session_cipher(tls);
	outcome->tls.sni = tls_session_sni(tls);
	outcome->tls.resumed = tls_session_resumed(tls);
}

void outcome_of(const struct exchange *exchange, int64_t now_ns, struct outcome *outcome)
{
	const struct downstream *downstream = exchange->downstream;
	*outcome = (struct outcome){.now_ns = now_ns,
	        .total_ns = now_ns - exchange->time.start_ns,
	        .handshake_ns = exchange->first ? downstream->handshake_ns : -1,
	        .decide_ns = -1,
	        .connect_ns = -1,
	        .first_byte_ns = -1,
	        .body_ns = -1,
	        .tls.resumed = -1,
	        .reused = -1,
	        .retries = -1,
	        .backend_status = -1};
	if (exchange->decision.route)
		outcome->route = exchange->decision.route->pattern.text;
	if (exchange->refused)
		outcome->reason = str_from(reason_name(exchange->refused));
	if (downstream->link.tls)
		set_tls(downstream->link.tls, outcome);
	set_backend(exchange, outcome);
	set_flags(exchange, outcome);
}

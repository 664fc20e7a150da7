// OpenSSL is refused one allocation after another in the middle of a handshake: whoever may not
// pass does not for that, whoever may passes as himself or not at all, and nothing is left in the
// error queue. Where we cannot do without (a session's very object) the process says so and ends:
// each run is in a child.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tls/tls.h"

static bool starving;
static size_t allocations, refused_at;

static enum tls_status starved_feed(
        struct tls_session *session, struct str bytes, struct buffer *plain)
{
	starving = true;
	enum tls_status status = tls_feed(session, bytes, plain);
	starving = false;
	return status;
}

static struct tls_session *starved_new(
        struct tls_context *context, struct buffer *out, tls_judge judge, void *owner)
{
	starving = true;
	struct tls_session *session = tls_session_new(context, out, judge, owner);
	starving = false;
	return session;
}

#define tls_feed starved_feed
#define tls_session_new starved_new
#include "tests/tls/gate.h"

static bool refuse(void)
{
	return starving && ++allocations == refused_at;
}

static void *starved_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return refuse() ? NULL : malloc(size);
}

static void *starved_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return refuse() ? NULL : realloc(old, size);
}

static void plain_free(void *memory, const char *file, int line)
{
	(void)file, (void)line;
	free(memory);
}

struct visitor {
	struct paper paper;
	bool good;
	int version;
};

enum { STRIDE = 7 };  // every one would take half a minute

// In the child, where cmocka's jump home would lead astray.
static void must(bool condition)
{
	if (!condition)
		_exit(1);
}

// True once the handshake took fewer allocations than `number`.
static bool meet(struct gate *gate, const struct visitor *visitor, size_t number)
{
	struct duel duel;
	allocations = 0;
	refused_at = number;
	gate_meet(gate, &duel,
	        (struct duel_client){.version = visitor->version, .paper = &visitor->paper});
	duel_pump(&duel);
	const struct tls_peer *peer = tls_session_peer(duel.session);
	bool in = tls_status(duel.session) == TLS_OPEN && peer->reason == REASON_NONE;
	must(!in || visitor->good);
	if (in)
		must(str_eq(peer->uri, STR(WEB_ID)));
	if (number > allocations)
		must(in == visitor->good);
	must(ERR_peek_error() == 0);
	duel_fini(&duel);
	return number > allocations;
}

// A child goes as far as it can; one that ended for want of memory has a successor.
static void starve(struct gate *gate, const struct visitor *visitor)
{
	static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};
	size_t *number = mmap(
	        NULL, sizeof(*number), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(number, MAP_FAILED);
	*number = 1;
	for (int children = 0, status = -1; status != 0; children++) {
		assert_true(children < 100);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
				signal(fatal[i], SIG_DFL);  // cmocka would catch it
			CHECK(freopen("/dev/null", "w", stderr));
			size_t at = *number;
			for (bool whole = false; !whole; at += STRIDE) {
				*number = at + STRIDE;
				whole = meet(gate, visitor, at);
			}
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		bool ended_with_a_word = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
		assert_true(status == 0 || ended_with_a_word);
	}
	assert_true(*number > 300);
	munmap(number, sizeof(*number));
}

static void starve_both(struct gate *gate, struct visitor visitor)
{
	for (size_t i = 0; i < ARRAY_LEN(tls_versions); i++) {
		visitor.version = tls_versions[i];
		starve(gate, &visitor);
	}
}

static void good_client_passes_as_himself_or_not_at_all(void **state)
{
	struct gate *gate = *state;
	starve_both(gate, (struct visitor){.paper = gate->client, .good = true});
}

static void stranger_never_passes(void **state)
{
	struct paper foreign = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	struct paper stranger = forge(&(struct draft){.cn = "client"}, &foreign);
	starve_both(*state, (struct visitor){.paper = stranger});
	paper_fini(&stranger);
	paper_fini(&foreign);
}

static void ca_certificate_never_passes(void **state)
{
	struct gate *gate = *state;
	struct paper ca = forge(&(struct draft){.cn = "ca", .ca = true}, &gate->root);
	starve_both(gate, (struct visitor){.paper = ca});
	paper_fini(&ca);
}

static void expired_client_never_passes(void **state)
{
	struct gate *gate = *state;
	struct paper old = forge(
	        &(struct draft){.cn = "old", .from_s = -2 * DAY, .to_s = -DAY}, &gate->root);
	starve_both(gate, (struct visitor){.paper = old});
	paper_fini(&old);
}

int main(void)
{
	CHECK(CRYPTO_set_mem_functions(starved_malloc, starved_realloc, plain_free) == 1);
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(good_client_passes_as_himself_or_not_at_all),
	        cmocka_unit_test(stranger_never_passes),
	        cmocka_unit_test(ca_certificate_never_passes),
	        cmocka_unit_test(expired_client_never_passes),
	};
	return cmocka_run_group_tests(tests, gate_open, gate_close);
}

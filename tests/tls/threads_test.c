// One context, many threads: each its own sessions, while the owner lets go of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "tests/tls/gate.h"

enum { THREADS = 4, HANDSHAKES = 8 };

static void *shake_hands(void *argument)
{
	struct gate *gate = argument;
	size_t good = 0;
	for (int i = 0; i < HANDSHAKES; i++) {
		struct duel duel;
		gate_meet(gate, &duel,
		        (struct duel_client){.version = tls_versions[i % 2],
		                .sni = i % 3 ? "second.test" : NULL});
		duel_pump(&duel);
		good += tls_session_peer(duel.session)->reason == REASON_NONE &&
		        duel_say(&duel, STR("hello")) && duel_answer(&duel, STR("hello"));
		duel_fini(&duel);
	}
	tls_context_unref(gate->context);
	return (void *)good;
}

static void a_context_serves_many_threads(void **state)
{
	struct gate *gate = *state;
	pthread_t threads[THREADS];
	struct paper second = forge(&(struct draft){.names = "DNS:second.test"}, &gate->root);
	X509_CRL *list = forge_list(&gate->root, second.x509, -HOUR, DAY);
	desk_serve(&gate->desk, &second);
	desk_revoke(&gate->desk, &list, 1);
	gate_renew(gate);
	for (size_t i = 0; i < THREADS; i++) {
		tls_context_ref(gate->context);
		assert_int_equal(pthread_create(&threads[i], NULL, shake_hands, gate), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		void *good;
		pthread_join(threads[i], &good);
		assert_int_equal((size_t)good, HANDSHAKES);
	}
	X509_CRL_free(list);
	paper_fini(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(
	                a_context_serves_many_threads, gate_open, gate_close),
	};
	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}

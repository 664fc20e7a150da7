// Sockets are opened all or none, and what the system says is told as it said it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "conf/address.h"
#include "gateway/net/listen.h"

enum { WANTED = 8, ROOM = 4 };

static int lowest_free(void)
{
	int descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	assert_true(descriptor >= 0);
	close(descriptor);
	return descriptor;
}

static void where_descriptors_run_out_none_is_left_open(void **state)
{
	(void)state;
	char directory[] = "/tmp/tollgate-listen-XXXXXX", path[64];
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "unix:%s/socket", directory);
	const char *const addresses[] = {path, "127.0.0.1:1"};
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		struct arena arena = {0};
		struct config_address address;
		const char *why;
		int sockets[WANTED], before = lowest_free();
		struct rlimit had, few;
		assert_true(
		        address_parse(str_from(addresses[i]), STR("/"), &arena, &address, &why));
		if (address.kind == ADDRESS_INET)  // any port
			((struct sockaddr_in *)&address.socket)->sin_port = 0;
		assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
		few = (struct rlimit){(rlim_t)before + ROOM, had.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		assert_false(listen_open(&address, WANTED, true, sockets, &why));
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
		assert_string_equal(why, strerror(EMFILE));
		assert_int_equal(lowest_free(), before);
		for (int k = before; k < before + ROOM; k++)
			assert_int_equal(fcntl(k, F_GETFD), -1);
		arena_fini(&arena);
	}
	unlink(path + strlen("unix:"));
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(where_descriptors_run_out_none_is_left_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// What a name server says of a service: it is answered once, and whatever is taken of it is an
// address with a weight that one may write, each once. c-ares is not there: its server's message is
// the input, and the servers that it names have an address, none, or fail, by the length of their
// names.
//   BYTES
#include <netinet/in.h>

#include "conf/lookup.h"
#include "tests/fuzz/fuzz.h"

enum { WEIGHT_MAX = 1000, MESSAGE_MAX = 65535 };

static struct str message;

void ares_search(ares_channel channel, const char *name, int class, int type,
        ares_callback callback, void *argument)
{
	(void)channel, (void)name, (void)class, (void)type;
	callback(argument, ARES_SUCCESS, 0, (unsigned char *)(uintptr_t)message.at,
	        (int)message.len);
}

void ares_getaddrinfo(ares_channel channel, const char *name, const char *port,
        const struct ares_addrinfo_hints *hints, ares_addrinfo_callback callback, void *argument)
{
	static struct sockaddr_in four = {.sin_family = AF_INET};
	static struct ares_addrinfo_node node = {.ai_family = AF_INET,
	        .ai_addr = (struct sockaddr *)&four,
	        .ai_addrlen = sizeof(four),
	        .ai_ttl = 5};
	static struct ares_addrinfo found = {.nodes = &node};
	static const int statuses[] = {ARES_ENODATA, ARES_SUCCESS, ARES_SUCCESS, ARES_ESERVFAIL};
	int status = statuses[strlen(name) % ARRAY_LEN(statuses)];
	(void)channel, (void)port;
	four.sin_addr.s_addr = htonl(0x0a000000u + (uint32_t)strlen(name));
	if (hints->ai_family == AF_INET6 && status == ARES_SUCCESS)
		status = ARES_ENODATA;
	callback(argument, status, 0, status == ARES_SUCCESS ? &found : NULL);
}

void ares_freeaddrinfo(struct ares_addrinfo *found)
{
	(void)found;
}

static void on_answer(void *argument, const struct lookup_answer *answer)
{
	++*(unsigned *)argument;
	CHECK(answer->why ? answer->count == 0 : answer->count > 0);
	CHECK(answer->why || answer->ttl_s >= 0);
	for (size_t i = 0; i < answer->count; i++) {
		const struct config_address *address = &answer->addresses[i];
		CHECK(address->kind == ADDRESS_INET && address->socket.ss_family == AF_INET);
		CHECK(address->weight >= 1 && address->weight <= WEIGHT_MAX);
		CHECK(!i ||
		        memcmp(&address[-1].socket, &address->socket, sizeof(address->socket)) < 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned answers = 0;
	if (size > MESSAGE_MAX)
		return 0;
	message = own_copy(str_of((const char *)data, size));
	lookup_ask_service(NULL, STR("_http._tcp.users.test"), on_answer, &answers);
	CHECK(answers == 1);
	own_free(message);
	return 0;
}

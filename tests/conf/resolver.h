// Stands in for the system's resolver, so that no test asks the network: the program that includes
// this defines getaddrinfo itself, and the linker prefers it. It knows two names: `both.test` with
// two IPv4 addresses and an IPv6 one, `six.test` with an IPv6 address. Servers that a file names
// are not asked either, and know nothing. One thread; for tests.
#ifndef TESTS_CONF_RESOLVER_H
#define TESTS_CONF_RESOLVER_H

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct resolver_answer {
	struct addrinfo info;
	struct sockaddr_in6 six;
	struct sockaddr_in four;
};

static inline struct addrinfo *resolver_answer(
        int family, const char *address, const char *port, struct addrinfo *next)
{
	struct resolver_answer *answer = calloc(1, sizeof(*answer));
	uint16_t number = htons((uint16_t)atoi(port));
	answer->four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = number};
	answer->six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = number};
	answer->info.ai_family = family;
	answer->info.ai_next = next;
	if (family == AF_INET) {
		inet_pton(AF_INET, address, &answer->four.sin_addr);
		answer->info.ai_addr = (struct sockaddr *)&answer->four;
		answer->info.ai_addrlen = sizeof(answer->four);
	} else {
		inet_pton(AF_INET6, address, &answer->six.sin6_addr);
		answer->info.ai_addr = (struct sockaddr *)&answer->six;
		answer->info.ai_addrlen = sizeof(answer->six);
	}
	return &answer->info;
}

int getaddrinfo(
        const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **answers)
{
	(void)hints;
	*answers = NULL;
	if (strcmp(name, "both.test") == 0) {
		*answers = resolver_answer(AF_INET, "10.0.0.2", port, NULL);
		*answers = resolver_answer(AF_INET, "10.0.0.1", port, *answers);
		*answers = resolver_answer(AF_INET6, "fd00::1", port, *answers);
	} else if (strcmp(name, "six.test") == 0) {
		*answers = resolver_answer(AF_INET6, "fd00::6", port, NULL);
	}
	return *answers ? 0 : EAI_NONAME;
}

void ares_getaddrinfo(ares_channel channel, const char *name, const char *port,
        const struct ares_addrinfo_hints *hints, ares_addrinfo_callback callback, void *argument)
{
	(void)channel, (void)name, (void)port, (void)hints;
	callback(argument, ARES_ENOTFOUND, 0, NULL);
}

void ares_search(ares_channel channel, const char *name, int class, int type,
        ares_callback callback, void *argument)
{
	(void)channel, (void)name, (void)class, (void)type;
	callback(argument, ARES_ENOTFOUND, 0, NULL, 0);
}

void freeaddrinfo(struct addrinfo *answers)
{
	for (struct addrinfo *next; answers; answers = next) {
		next = answers->ai_next;
		free(answers);
	}
}

#endif

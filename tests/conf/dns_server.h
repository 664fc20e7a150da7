// A name server for tests, on a thread of its own: whatever the name, it says what it was told to
// say. Real DNS over UDP on the loopback address (RFC 1035). For tests.
#ifndef TESTS_CONF_DNS_SERVER_H
#define TESTS_CONF_DNS_SERVER_H

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

enum dns_rcode { DNS_GOOD = 0, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_SILENT = 100 };
enum { DNS_A = 1, DNS_AAAA = 28, DNS_SRV = 33, DNS_TEXT = 256 };

struct dns_server {
	int socket;
	uint16_t port;
	pthread_t thread;
	pthread_mutex_t lock;  // of what it says
	enum dns_rcode rcode;
	uint32_t ttl;
	char addresses[DNS_TEXT];  // of both kinds, with a space between them
	// Of services: `PRIORITY WEIGHT PORT TARGET`, with a comma between them.
	char services[DNS_TEXT];
	atomic_uint asked;  // for A
	atomic_bool over;
};

static inline void dns_says(
        struct dns_server *server, enum dns_rcode rcode, uint32_t ttl, const char *addresses)
{
	pthread_mutex_lock(&server->lock);
	server->rcode = rcode;
	server->ttl = ttl;
	snprintf(server->addresses, DNS_TEXT, "%s", addresses);
	pthread_mutex_unlock(&server->lock);
}

static inline unsigned char *dns_put(unsigned char *at, unsigned value, unsigned bytes)
{
	while (bytes--)
		*at++ = (unsigned char)(value >> 8 * bytes);
	return at;
}

static inline unsigned char *dns_put_name(unsigned char *at, char *name)
{
	for (char *label; (label = strsep(&name, "."));) {
		size_t len = strlen(label);
		if (!len)
			continue;
		*at++ = (unsigned char)len;
		memcpy(at, label, len);
		at += len;
	}
	*at++ = 0;
	return at;
}

static inline unsigned char *dns_put_services(
        const struct dns_server *server, unsigned char *at, unsigned *count)
{
	char text[DNS_TEXT], *rest = text;
	strcpy(text, server->services);
	for (char *one; (one = strsep(&rest, ","));) {
		unsigned priority, weight, port;
		char target[DNS_TEXT];
		if (sscanf(one, "%u %u %u %255s", &priority, &weight, &port, target) != 4)
			continue;
		at = dns_put(dns_put(dns_put(at, 0xc00c, 2), DNS_SRV, 2), 1, 2);
		unsigned char *len = at = dns_put(at, server->ttl, 4);
		at = dns_put(dns_put(dns_put(at + 2, priority, 2), weight, 2), port, 2);
		at = dns_put_name(at, target);
		dns_put(len, (unsigned)(at - len - 2), 2);
		++*count;
	}
	return at;
}

// One record for each address of the kind that was asked for.
static inline unsigned char *dns_put_answers(
        const struct dns_server *server, unsigned type, unsigned char *at, unsigned *count)
{
	char text[DNS_TEXT], *rest = text;
	strcpy(text, server->addresses);
	for (char *one; (one = strsep(&rest, " "));) {
		unsigned char bytes[16];
		if (inet_pton(type == DNS_A ? AF_INET : AF_INET6, one, bytes) != 1)
			continue;
		unsigned len = type == DNS_A ? 4 : 16;
		at = dns_put(at, 0xc00c, 2);  // the name in the question
		at = dns_put(dns_put(at, type, 2), 1, 2);
		at = dns_put(dns_put(at, server->ttl, 4), len, 2);
		memcpy(at, bytes, len);
		at += len;
		++*count;
	}
	return at;
}

static inline void dns_answer(
        struct dns_server *server, unsigned char *message, size_t len, const struct sockaddr_in *to)
{
	size_t end = 12;
	while (end < len && message[end])
		end += message[end] + 1u;
	unsigned type = message[end + 2], count = 0;
	unsigned char *last = message + end + 5;
	pthread_mutex_lock(&server->lock);
	server->asked += type == DNS_A;
	if (server->rcode == DNS_GOOD && type == DNS_SRV)
		last = dns_put_services(server, last, &count);
	else if (server->rcode == DNS_GOOD)
		last = dns_put_answers(server, type, last, &count);
	dns_put(message + 2, 0x8180u | (unsigned)server->rcode, 2);
	dns_put(dns_put(dns_put(dns_put(message + 4, 1, 2), count, 2), 0, 2), 0, 2);
	if (server->rcode != DNS_SILENT)
		CHECK(sendto(server->socket, message, (size_t)(last - message), 0,
		              (const struct sockaddr *)to, sizeof(*to)) > 0);
	pthread_mutex_unlock(&server->lock);
}

static inline void *dns_run(void *argument)
{
	struct dns_server *server = argument;
	unsigned char message[4096];
	while (!server->over) {
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t len = recvfrom(
		        server->socket, message, 512, 0, (struct sockaddr *)&from, &from_len);
		if (len > 12)
			dns_answer(server, message, (size_t)len, &from);
	}
	return NULL;
}

static inline void dns_open(struct dns_server *server)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	*server = (struct dns_server){.socket = socket(AF_INET, SOCK_DGRAM, 0)};
	CHECK(bind(server->socket, (struct sockaddr *)&at, sizeof(at)) == 0);
	CHECK(getsockname(server->socket, (struct sockaddr *)&at, &len) == 0);
	server->port = ntohs(at.sin_port);
	pthread_mutex_init(&server->lock, NULL);
	CHECK(pthread_create(&server->thread, NULL, dns_run, server) == 0);
}

static inline void dns_close(struct dns_server *server)
{
	server->over = true;
	shutdown(server->socket, SHUT_RDWR);  // wakes it, on Linux
	pthread_join(server->thread, NULL);
	close(server->socket);
	pthread_mutex_destroy(&server->lock);
}

#endif

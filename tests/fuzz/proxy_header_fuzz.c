// PROXY protocol: the verdict on a beginning is never taken back, whatever comes behind it; a
// whole header ends within what is there, and an address in it is one that can be written down.
//   BYTES
#include <arpa/inet.h>
#include <netinet/in.h>

#include "gateway/proxy_header.h"
#include "tests/fuzz/fuzz.h"

static void check_client(const struct proxy_header *header)
{
	char text[INET6_ADDRSTRLEN];
	const struct sockaddr_in *four = (const struct sockaddr_in *)&header->client;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&header->client;
	int family = header->client.ss_family;
	if (!header->told)
		return;
	CHECK(family == AF_INET || family == AF_INET6);
	const void *address = family == AF_INET ? (const void *)&four->sin_addr
	                                        : (const void *)&six->sin6_addr;
	CHECK(inet_ntop(family, address, text, sizeof(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxy_verdict before = PROXY_MORE;
	struct proxy_header first = {0};
	if (size > 2 * PROXY_HEADER_MAX)
		return 0;
	for (size_t len = 1; len <= size; len++) {
		struct str bytes = own_copy(str_of((const char *)data, len));
		struct proxy_header header;
		const char *why = NULL;
		enum proxy_verdict verdict = proxy_header_read(bytes, &header, &why);
		CHECK(before == PROXY_MORE || verdict == before);
		CHECK(verdict != PROXY_MORE || len < PROXY_HEADER_MAX);
		CHECK(verdict != PROXY_BROKEN || why);
		if (verdict == PROXY_WHOLE) {
			CHECK(header.len && header.len <= len);
			CHECK(before == PROXY_MORE ? header.len == len : header.len == first.len);
			check_client(&header);
			first = header;
		}
		before = verdict;
		own_free(bytes);
	}
	return 0;
}

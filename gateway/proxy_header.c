#include "gateway/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/check.h"
#include "conf/address.h"

enum { LINE_MAX_1 = 107, FIXED_2 = 16, INET_2 = 12, INET6_2 = 36, WORDS_1 = 6 };

static const struct str signature_1 = {"PROXY ", 6};
static const struct str signature_2 = {"\r\n\r\n\0\r\nQUIT\n", 12};

// Whether `bytes` go on as `signature` does, as far as both go.
static bool agrees(struct str bytes, struct str signature)
{
	size_t len = bytes.len < signature.len ? bytes.len : signature.len;
	return memcmp(bytes.at, signature.at, len) == 0;
}

static bool parse_address(struct str host, struct str port, int family, struct proxy_header *header)
{
	uint64_t number;
	struct sockaddr_in *four = (struct sockaddr_in *)&header->client;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&header->client;
	bool padded = port.len > 1 && port.at[0] == '0';
	if (padded || !str_to_u64(port, UINT16_MAX, &number))
		return false;
	header->client.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		four->sin_port = htons((uint16_t)number);
		return address_numeric(host, AF_INET, &four->sin_addr);
	}
	six->sin6_port = htons((uint16_t)number);
	return address_numeric(host, AF_INET6, &six->sin6_addr);
}

// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`: six words, one space between them.
static bool parse_line(struct str line, struct proxy_header *header)
{
	struct str words[WORDS_1];
	size_t count = 0;
	while (count < WORDS_1) {
		// The last word is all of the rest.
		const char *space = count + 1 < WORDS_1 ? str_find_byte(line, ' ') : NULL;
		size_t len = space ? (size_t)(space - line.at) : line.len;
		words[count++] = str_of(line.at, len);
		if (!space)
			break;
		line = str_skip(line, len + 1);
	}
	if (count >= 2 && str_eq(words[1], STR("UNKNOWN")))
		return true;
	int family = count >= 2 && str_eq(words[1], STR("TCP6")) ? AF_INET6 : AF_INET;
	if (count != WORDS_1 || !(family == AF_INET6 || str_eq(words[1], STR("TCP4"))))
		return false;
	struct proxy_header gateway;  // its own side has to make sense too
	header->told = parse_address(words[2], words[4], family, header) &&
	               parse_address(words[3], words[5], family, &gateway);
	return header->told;
}

static enum proxy_verdict read_line(struct str bytes, struct proxy_header *header, const char **why)
{
	struct str head = str_of(bytes.at, bytes.len < LINE_MAX_1 ? bytes.len : LINE_MAX_1);
	const char *end = str_find_byte(head, '\n');
	if (!end && head.len < LINE_MAX_1)
		return PROXY_MORE;
	*why = "its PROXY line does not end within 107 bytes";
	if (!end)
		return PROXY_BROKEN;
	size_t len = (size_t)(end - head.at);
	*why = "its PROXY line is not of version 1";
	if (len == 0 || head.at[len - 1] != '\r' || !parse_line(str_of(head.at, len - 1), header))
		return PROXY_BROKEN;
	header->len = len + 1;
	return PROXY_WHOLE;
}

static void take_block(const uint8_t *at, int family, struct proxy_header *header)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&header->client;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&header->client;
	header->told = true;
	header->client.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&four->sin_addr, at, sizeof(four->sin_addr));
		memcpy(&four->sin_port, at + 8, sizeof(four->sin_port));
	} else {
		memcpy(&six->sin6_addr, at, sizeof(six->sin6_addr));
		memcpy(&six->sin6_port, at + 32, sizeof(six->sin6_port));
	}
}

static enum proxy_verdict read_block(
        struct str bytes, struct proxy_header *header, const char **why)
{
	enum { LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21 };
	const uint8_t *at = (const uint8_t *)bytes.at;
	if (bytes.len < FIXED_2)
		return PROXY_MORE;
	uint8_t command = at[12], family = at[13];
	size_t len = (size_t)at[14] << 8 | at[15];
	*why = "its PROXY header has a version or command nobody knows";
	if (command != LOCAL && command != PROXY)
		return PROXY_BROKEN;
	*why = "its PROXY header is longer than 2048 bytes";
	if (FIXED_2 + len > PROXY_HEADER_MAX)
		return PROXY_BROKEN;
	*why = "its PROXY header is too short for its addresses";
	if (command == PROXY &&
	        ((family == TCP4 && len < INET_2) || (family == TCP6 && len < INET6_2)))
		return PROXY_BROKEN;
	if (bytes.len < FIXED_2 + len)
		return PROXY_MORE;
	// Any other family is to be taken as not told (section 2.2).
	if (command == PROXY && (family == TCP4 || family == TCP6))
		take_block(at + FIXED_2, family == TCP4 ? AF_INET : AF_INET6, header);
	header->len = FIXED_2 + len;
	return PROXY_WHOLE;
}

enum proxy_verdict proxy_header_read(
        struct str bytes, struct proxy_header *header, const char **why)
{
	*header = (struct proxy_header){0};
	if (agrees(bytes, signature_2))
		return bytes.len < signature_2.len ? PROXY_MORE : read_block(bytes, header, why);
	if (agrees(bytes, signature_1))
		return bytes.len < signature_1.len ? PROXY_MORE : read_line(bytes, header, why);
	*why = "it does not begin with a PROXY header";
	return PROXY_BROKEN;
}

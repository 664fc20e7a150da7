#include "conf/address.h"
#include "conf/lookup.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum { DNS_PORT = 53 };

// With a port or, as resolv.conf has them, without.
static bool parse(struct reader *reader, struct str text, struct config_address *address)
{
	struct arena *arena = &reader->config->arena;
	const char *why;
	bool six = str_find_byte(text, ':') && address_is_host(text);
	struct str with_port = arena_printf(
	        arena, six ? "[%.*s]:%d" : "%.*s:%d", STR_FMT(text), DNS_PORT);
	if (address_is_host(text) && address_parse(with_port, STR(""), arena, address, &why))
		return true;
	return address_parse(text, STR(""), arena, address, &why) && address->kind == ADDRESS_INET;
}

static bool set_server(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_address address;
	if (!type_fits(key, node->text) || !parse(reader, node->text, &address))
		return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

static const struct schema_type type_dns_server = {.name = "address",
        .expected = "the IP address of a server, such as 10.0.0.10, 127.0.0.1:5353 or [::1]:53",
        .set = set_server,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = 64};

static void check_dns(struct reader *reader, const struct tree *node, void *base)
{
	struct config_dns *dns = base;
	size_t names = dns->servers.count;
	dns->addresses = arena_zalloc(&reader->config->arena, names * sizeof(*dns->addresses));
	for (size_t i = 0; i < names; i++)
		if (dns->servers.items[i].text.len &&
		        parse(reader, dns->servers.items[i].text, &dns->addresses[dns->count]))
			dns->count++;
	if (dns->min_ttl_ns > dns->max_ttl_ns)
		reader_problem_at(reader, node, tree_get(node, "max_ttl") ? "max_ttl" : "min_ttl",
		        "leaves nothing: min_ttl is above max_ttl; expected it below or the same");
}

static const struct schema_key dns_keys[] = {
        {"servers", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_dns_server),
                AT(config_dns, servers), RANGE(1, LOOKUP_SERVERS_MAX),
                DOC("Whom to ask, in this order, over UDP and TCP; without the key those of "
                    "/etc/resolv.conf, and when the file is loaded the system's resolver. "
                    "/etc/hosts "
                    "is read first in any case, and search domains are those of resolv.conf. The "
                    "port is 53 unless written.")},
        {"min_ttl", TYPE(type_duration), AT(config_dns, min_ttl_ns),
                RANGE(100 * MS_NS, 60 * MINUTE_NS), .fallback = "5s",
                DOC("A name's addresses hold for as long as the answer says, and at least so "
                    "long. Also when a name is asked for again that could not be resolved.")},
        {"max_ttl", TYPE(type_duration), AT(config_dns, max_ttl_ns),
                RANGE(100 * MS_NS, 60 * 24 * MINUTE_NS), .fallback = "5m",
                DOC("And at most so long.")},
};

const struct schema_object schema_dns = {
        DOC("How the names of backends are looked up: once when the file is loaded, and again "
            "whenever what is known of one has lived out its TTL. Other addresses are in force at "
            "once: calls under way end where they are, and connections to addresses that stay "
            "are kept. A name that cannot be resolved keeps the addresses it has, and the log "
            "says so. After a reload what is known goes on to hold, and is asked for once more; "
            "for names that are new, and where the servers are others, the reload itself asks, "
            "one after the other, and is refused without the answers: meanwhile calls are "
            "served, and the admin listener waits."),
        .size = sizeof(struct config_dns), KEYS(dns_keys), .check = check_dns};

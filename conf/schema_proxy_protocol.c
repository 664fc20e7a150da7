#include "conf/network.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum { NETWORKS_MAX = 256 };

static bool set_network(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	struct config_network network;
	const char *why;
	if (!type_fits(key, node->text))
		return reader_refuse(reader, key, node);
	if (network_parse(node->text, &network, &why))
		return type_set_text(reader, key, node, field);
	reader_problem(reader, node->mark, "found %s, %s; expected %s",
	        value_quote(node->text).text, why, key->type->expected);
	return false;
}

static const struct schema_type type_network = {.name = "network",
        .expected = "a network such as 10.0.0.0/8, fd00::/8, 192.0.2.1 or unix",
        .set = set_network,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = 64};

static void check_proxy_protocol(struct reader *reader, const struct tree *node, void *base)
{
	struct config_proxy_protocol *proxy = base;
	const struct config_texts *names = &proxy->trusted;
	const char *why;
	(void)node;
	proxy->networks = arena_zalloc(
	        &reader->config->arena, names->count * sizeof(*proxy->networks));
	for (size_t i = 0; i < names->count; i++)
		if (names->items[i].text.len &&
		        network_parse(names->items[i].text, &proxy->networks[proxy->count], &why))
			proxy->count++;
}

// Who connects by which way.
void check_listener(struct reader *reader, const struct tree *node, void *base)
{
	const struct config_listener *listener = base;
	const struct config_proxy_protocol *proxy = &listener->proxy_protocol;
	bool local = listener->address.kind == ADDRESS_UNIX;
	(void)node;
	if (listener->address.kind == ADDRESS_NONE || proxy->count != proxy->trusted.count)
		return;
	reader_enter(reader, "proxy_protocol");
	reader_enter(reader, "trusted");
	for (size_t i = 0; i < proxy->count; i++) {
		if ((proxy->networks[i].family == AF_UNIX) == local)
			continue;
		reader_enter_item(reader, i);
		reader_problem(reader, proxy->trusted.items[i].mark,
		        "can have no effect: the listener's address is %s; expected %s",
		        local ? "a unix socket" : "none of a unix socket",
		        local ? "unix" : "IP networks");
		reader_leave(reader);
	}
	reader_leave(reader);
	reader_leave(reader);
}

static const struct schema_key proxy_protocol_keys[] = {
        {"trusted", .shape = SHAPE_TEXTS, .presence = PRESENCE_REQUIRED, TYPE(type_network),
                AT(config_proxy_protocol, trusted), RANGE(1, NETWORKS_MAX),
                .missing = "else anybody could claim to come from anywhere",
                DOC("The networks that load balancers connect from; `unix` is whoever connects to "
                    "a unix socket.")},
};

const struct schema_object schema_proxy_protocol = {
        DOC("Connections from these networks must begin with a header of PROXY protocol, version 1 "
            "or 2, ahead of TLS: the address it names is the client's from there on, for limits, "
            "records and `X-Forwarded-For`. No header is looked for on other connections."),
        .size = sizeof(struct config_proxy_protocol), KEYS(proxy_protocol_keys),
        .check = check_proxy_protocol};

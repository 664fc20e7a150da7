#include "conf/address.h"
#include "conf/schema_row.h"

enum { PATTERNS_MAX = 1000, SERVER_NAME_BYTES_MAX = 253 };

static bool set_server_name(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	if (!type_fits(key, node->text) || !address_is_host(node->text))
		return reader_refuse(reader, key, node);
	return type_set_text(reader, key, node, field);
}

static const struct schema_type type_server_name = {.name = "name",
        .expected = "a host name such as users.internal, or an IP address",
        .set = set_server_name,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = SERVER_NAME_BYTES_MAX};

// From here on it is a listener's `tls`, with one certificate or none.
static void check_backend_tls(struct reader *reader, const struct tree *node, void *base)
{
	static const char *const pair[] = {"certificate_chain", "private_key"};
	struct config_backend_tls *tls = base;
	bool given[] = {tree_get(node, pair[0]), tree_get(node, pair[1])};
	tls->tls.side = TLS_OF_BACKEND;
	tls->tls.mark = node->mark;
	tls->tls.certificates = &tls->certificate;
	tls->tls.certificate_count = given[0] && given[1];
	if (given[0] != given[1])
		reader_problem_at(reader, node, pair[given[0]],
		        "is missing beside %s; expected both, or neither where servers ask for no "
		        "certificate",
		        pair[!given[0]]);
}

static const char *const tls_versions[] = {"1.2", "1.3", NULL};

static const struct schema_key backend_tls_keys[] = {
        {"trusted_ca", .presence = PRESENCE_REQUIRED, TYPE(type_file),
                AT(config_backend_tls, tls.trusted_ca),
                .missing = "a server is worth nothing to know that anybody could be",
                DOC("PEM file: only these roots vouch for servers.")},
        {"crl", .presence = PRESENCE_OPTIONAL, TYPE(type_file), AT(config_backend_tls, tls.crl),
                DOC("PEM file with revocation lists; an issuer without a list in it revokes "
                    "nothing.")},
        {"match_subject_alt_names", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL,
                TYPE(type_pattern), AT(config_backend_tls, tls.match_subject_alt_names),
                RANGE(1, PATTERNS_MAX),
                DOC("The SPIFFE IDs a server may have, one of which has to be its certificate's. "
                    "Without the key its certificate has to be for `server_name`.")},
        {"server_name", .presence = PRESENCE_OPTIONAL, TYPE(type_server_name),
                AT(config_backend_tls, server_name),
                DOC("Sent as SNI, and what the server's certificate has to be for unless "
                    "`match_subject_alt_names` says who it may be; without the key each "
                    "endpoint's own host. Names of the certificate are DNS and IP names, never a "
                    "common name.")},
        {"certificate_chain", .presence = PRESENCE_OPTIONAL, TYPE(type_file),
                AT(config_backend_tls, certificate.certificate_chain),
                DOC("PEM file: what the gateway shows a server that asks, then the "
                    "intermediates.")},
        {"private_key", .presence = PRESENCE_OPTIONAL, TYPE(type_file),
                AT(config_backend_tls, certificate.private_key),
                DOC("PEM file: the key of that certificate, closed to others as a listener's.")},
        {"min_version", TYPE(type_choice), AT(config_backend_tls, tls.min_version),
                .choices = tls_versions, .fallback = "1.2", DOC("The oldest TLS version spoken.")},
};

const struct schema_object schema_backend_tls = {
        DOC("A server that is not who it has to be gets not one byte of a request; calls go on to "
            "another endpoint, or fail with `backend_tls_failed`, and the log says why. Every "
            "connection is a full handshake. Replaced files are taken up as those of listeners "
            "are; calls made after that go over new connections."),
        .size = sizeof(struct config_backend_tls), KEYS(backend_tls_keys),
        .check = check_backend_tls};

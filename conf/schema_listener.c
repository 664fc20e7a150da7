#include "conf/schema_row.h"

enum {
	// Lists: far above any sane file, low enough that comparing all pairs stays quick.
	CERTIFICATES_MAX = 256,
	ROUTES_MAX = 10000,
	WORDS_MAX = 1000,
	SHARES_MAX = 64,
	RATE_LIMITS_MAX = 16,
	CALL_LIMITS_MAX = CONFIG_CALL_LIMITS_MAX,
};

static const struct schema_key certificate_keys[] = {
        {"certificate_chain", .presence = PRESENCE_REQUIRED, TYPE(type_file),
                AT(config_certificate, certificate_chain),
                DOC("PEM file: the gateway's certificate first, then the intermediates.")},
        {"private_key", .presence = PRESENCE_REQUIRED, TYPE(type_file),
                AT(config_certificate, private_key),
                DOC("PEM file: the key of that certificate. Refused where other users may read or "
                    "write it: expected is mode 0600, or 0640 for the gateway's own group.")},
};

static const struct schema_object schema_certificate = {DOC("A certificate the gateway shows."),
        .size = sizeof(struct config_certificate), KEYS(certificate_keys)};

static const struct schema_key validation_context_keys[] = {
        {"trusted_ca", .presence = PRESENCE_REQUIRED, TYPE(type_file), AT(config_tls, trusted_ca),
                DOC("PEM file: only these roots are trusted; the system's store never is.")},
        {"crl", .presence = PRESENCE_OPTIONAL, TYPE(type_file), AT(config_tls, crl),
                DOC("PEM file with revocation lists; an issuer without a list in it revokes "
                    "nothing.")},
        {"match_subject_alt_names", .shape = SHAPE_TEXTS, .presence = PRESENCE_REQUIRED,
                TYPE(type_pattern), AT(config_tls, match_subject_alt_names), RANGE(1, WORDS_MAX),
                .missing = "a listener without patterns accepts no identity",
                DOC("The SPIFFE IDs let in; `*` is exactly one path segment, a final `/*` one or "
                    "more.")},
};

static const struct schema_object schema_validation_context = {
        DOC("What a client certificate is held against."), .size = sizeof(struct config_tls),
        KEYS(validation_context_keys)};

static const char *const tls_versions[] = {"1.2", "1.3", NULL};
static const char *const unauthenticated[] = {"forbid", "alert", NULL};

static const struct schema_key tls_keys[] = {
        {"certificates", .shape = SHAPE_OBJECTS, .presence = PRESENCE_REQUIRED,
                OBJECT(schema_certificate), AT(config_tls, certificates),
                COUNT_AT(config_tls, certificate_count), RANGE(1, CERTIFICATES_MAX),
                DOC("Chosen by the server name the client asks for; the first is the default.")},
        {"min_version", TYPE(type_choice), AT(config_tls, min_version), .choices = tls_versions,
                .fallback = "1.2", DOC("The oldest TLS version spoken.")},
        {"require_client_certificate", TYPE(type_flag), AT(config_tls, require_client_certificate),
                .fallback = "true",
                DOC("Must be true: every connection presents a client certificate.")},
        {"on_unauthenticated", TYPE(type_choice), AT(config_tls, on_unauthenticated),
                .choices = unauthenticated, .fallback = "forbid",
                DOC("`forbid` completes the handshake, answers 403 and closes; `alert` fails the "
                    "handshake. Both are audited.")},
        {"session_ticket_keys", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL,
                TYPE(type_file), AT(config_tls, session_ticket_keys),
                RANGE(1, CONFIG_TICKET_KEYS_MAX),
                DOC("Files of 80 random bytes each, as secret as private keys and shared by a "
                    "fleet: clients take their sessions up at any gateway that has the same keys, "
                    "bundle and lists. The first key seals, all open. Without the key sessions "
                    "are kept in memory, by this gateway alone.")},
        {"validation_context", .shape = SHAPE_OBJECT, .presence = PRESENCE_REQUIRED,
                OBJECT(schema_validation_context), DOC("Who is trusted.")},
};

static const struct schema_object schema_tls = {DOC("TLS towards clients."),
        .size = sizeof(struct config_tls), KEYS(tls_keys), .check = check_tls};

static const struct schema_key timeouts_keys[] = {
        {"handshake", TYPE(type_duration), AT(config_timeouts, handshake_ns), RANGE(0, DAY_NS),
                .fallback = "5s", DOC("The complete TLS handshake.")},
        {"request_headers", TYPE(type_duration), AT(config_timeouts, request_headers_ns),
                RANGE(0, DAY_NS), .fallback = "10s", DOC("The complete request head.")},
        {"request", TYPE(type_duration), AT(config_timeouts, request_ns), RANGE(0, DAY_NS),
                .fallback = "0s", DOC("Receiving the complete request; gRPC calls are exempt.")},
        {"stream_idle", TYPE(type_duration), AT(config_timeouts, stream_idle_ns), RANGE(0, DAY_NS),
                .fallback = "30s", DOC("A stream without progress in either direction.")},
        {"idle", TYPE(type_duration), AT(config_timeouts, idle_ns), RANGE(0, DAY_NS),
                .fallback = "60s",
                DOC("A connection without a request, before the first one too.")},
};

static const struct schema_object schema_timeouts = {
        DOC("Each is a whole, never per read; 0 is off."), .size = sizeof(struct config_timeouts),
        KEYS(timeouts_keys)};

static const struct schema_key limits_keys[] = {
        {"connections", TYPE(type_count), AT(config_limits, connections), RANGE(0, 10000000),
                .fallback = "10000",
                DOC("Open connections of this listener. Past this, "
                    "and the next two, some are let in to be told so, an eighth as many and 16, "
                    "and "
                    "take nobody's place; beyond those the door is shut.")},
        {"connections_per_identity", TYPE(type_count), AT(config_limits, connections_per_identity),
                RANGE(0, 10000000), .fallback = "0",
                DOC("Of them, those of one SPIFFE ID, over all workers.")},
        {"connections_per_address", TYPE(type_count), AT(config_limits, connections_per_address),
                RANGE(0, 10000000), .fallback = "0", DOC("And those from one IP address.")},
        {"concurrent_streams", TYPE(type_count), AT(config_limits, concurrent_streams),
                RANGE(0, INT32_MAX), .fallback = "100",
                DOC("HTTP/2 streams open at once on a connection; what a reload changes is for "
                    "connections made after it.")},
        {"header_bytes", TYPE(type_size), AT(config_limits, header_bytes), RANGE(0, 16 << 20),
                .fallback = "60KiB",
                DOC("A request head; 0 is 1 MiB. Over HTTP/2 it also has to "
                    "fit, compressed, into nine frames of 16 KiB, and each of its values into "
                    "64 KiB: what does not ends the connection.")},
        {"header_fields", TYPE(type_count), AT(config_limits, header_fields), RANGE(0, 100000),
                .fallback = "100", DOC("Fields in a request head; 0 is 10000.")},
        {"body_bytes", TYPE(type_size), AT(config_limits, body_bytes), RANGE(0, UINT64_C(1) << 50),
                .fallback = "0", DOC("A request body.")},
};

static const struct schema_object schema_limits = {
        DOC("Ceilings; 0 is none."), .size = sizeof(struct config_limits), KEYS(limits_keys)};

static const struct schema_key match_keys[] = {
        {"grpc", .presence = PRESENCE_OPTIONAL, TYPE(type_grpc),
                DOC("One method, `package.Service/*`, `package.*/*`, or `\"*\"` for every gRPC "
                    "call.")},
        {"path", .presence = PRESENCE_OPTIONAL, TYPE(type_path),
                DOC("Exact, or everything below a prefix with a final `/*`; matched on the "
                    "normalised path, gRPC calls included.")},
        {"methods", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_method),
                AT(config_route, methods), RANGE(1, WORDS_MAX),
                DOC("HTTP methods, beside `path`; without the key any.")},
        {"hosts", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_host),
                AT(config_route, hosts), RANGE(1, WORDS_MAX),
                DOC("Hosts without port; without the key any.")},
};

static const struct schema_object schema_match = {
        DOC("What a route answers to: either `grpc` or `path`."),
        .size = sizeof(struct config_route), KEYS(match_keys), .check = check_match};

static const struct schema_key respond_keys[] = {
        {"status", TYPE(type_status), AT(config_route, respond_status), RANGE(200, 599),
                .fallback = "200", .shown = shown_answer, DOC("The status.")},
        {"body", .presence = PRESENCE_OPTIONAL, TYPE(type_body), AT(config_route, respond_body),
                .shown = shown_answer, DOC("The body; none without the key.")},
};

static const struct schema_object schema_respond = {
        DOC("An answer from the gateway itself. A gRPC call gets the status that gRPC's HTTP "
            "mapping gives."),
        .size = sizeof(struct config_route), KEYS(respond_keys), .check = check_respond};

static const char *const priorities[] = {"low", "normal", "high", NULL};

static const struct schema_key route_keys[] = {
        {"match", .shape = SHAPE_OBJECT, .presence = PRESENCE_REQUIRED, OBJECT(schema_match),
                DOC("What the route answers to.")},
        {"allow", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_pattern),
                AT(config_route, allow), RANGE(1, WORDS_MAX),
                DOC("SPIFFE patterns of who may; without the key every identity the listener lets "
                    "in.")},
        {"backend", .presence = PRESENCE_OPTIONAL, TYPE(type_name), AT(config_route, backend_name),
                DOC("The name of the backend that gets the request.")},
        {"backends", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL, OBJECT(schema_share),
                AT(config_route, shares), COUNT_AT(config_route, share_count), RANGE(1, SHARES_MAX),
                DOC("Several backends, among which requests are shared out by weight.")},
        {"mirror", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_mirror),
                AT(config_route, mirror), DOC("Another backend gets copies of the requests.")},
        {"respond", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_respond),
                DOC("The gateway answers by itself.")},
        {"redirect", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_redirect),
                AT(config_route, redirect), DOC("The gateway sends the client elsewhere.")},
        {"rewrite", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_rewrite),
                AT(config_route, rewrite),
                DOC("The backend is asked for another path, or under another host.")},
        {"timeout", TYPE(type_duration), AT(config_route, timeout_ns), RANGE(0, DAY_NS),
                .fallback = "0s", .shown = shown_forward,
                DOC("The backend's complete answer; 0 is off.")},
        {"retry", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_retry),
                AT(config_route, retry), .shown = shown_retry,
                DOC("Another attempt where the backend failed. Without the key, and besides it, "
                    "only what the backend certainly did not act on is sent again, and GETs and "
                    "the like where a kept connection had ended; but nothing of whose body a part "
                    "was sent, which only `retry` keeps.")},
        {"priority", TYPE(type_choice), AT(config_route, priority), .choices = priorities,
                .fallback = "normal", .shown = shown_priority,
                DOC("Whose calls are shed first when the backend nears its `concurrency` limit: "
                    "`low` ones at three quarters of it, `normal` ones at the limit, `high` ones "
                    "at five quarters.")},
        {"upgrade", .shape = SHAPE_TEXTS, .presence = PRESENCE_OPTIONAL, TYPE(type_upgrade),
                AT(config_route, upgrades), RANGE(1, 1),
                DOC("Protocols a client may upgrade to (`websocket`), with an `http1` backend.")},
        {"request_headers", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_request_headers), AT(config_route, request_headers),
                DOC("What of the request's head the backend gets to see.")},
        {"response_headers", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_response_headers), AT(config_route, response_headers),
                DOC("What of the answer's head the client gets to see.")},
        {"rate_limits", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_rate_limit), AT(config_route, rate_limits),
                COUNT_AT(config_route, rate_limit_count), RANGE(0, RATE_LIMITS_MAX),
                DOC("Tokens a call pays.")},
        {"call_limits", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_call_limit), AT(config_route, call_limits),
                COUNT_AT(config_route, call_limit_count), RANGE(0, CALL_LIMITS_MAX),
                DOC("Calls under way at once.")},
        {"flow_limits", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_flow_limit), AT(config_route, flow_limits),
                COUNT_AT(config_route, flow_limit_count), RANGE(0, CONFIG_FLOW_LIMITS_MAX),
                DOC("What calls pass on by time.")},
};

static const struct schema_object schema_route = {
        DOC("The first route that matches decides. One of `backend`, `backends`, "
            "`respond` and `redirect`."),
        .size = sizeof(struct config_route), KEYS(route_keys), .check = check_route};

static bool shown_proxy_protocol(const void *base)
{
	return ((const struct config_listener *)base)->proxy_protocol.trusted.count > 0;
}

static const char *const quota_fields[] = {"off", "standard", "legacy", "both", NULL};

static const struct schema_key listener_keys[] = {
        {"name", .presence = PRESENCE_REQUIRED, TYPE(type_name), AT(config_listener, name),
                DOC("In logs and metrics.")},
        {"address", .presence = PRESENCE_REQUIRED, TYPE(type_address), AT(config_listener, address),
                DOC("Where it listens. A narrow address may stand beside a wide one at its port, "
                    "as "
                    "`127.0.0.1:443` beside `[::]:443`, and gets what comes to it.")},
        {"tls", .shape = SHAPE_OBJECT, .presence = PRESENCE_REQUIRED, OBJECT(schema_tls),
                AT(config_listener, tls), DOC("TLS towards clients.")},
        {"timeouts", .shape = SHAPE_OBJECT, OBJECT(schema_timeouts), AT(config_listener, timeouts),
                DOC("How long clients may take.")},
        {"limits", .shape = SHAPE_OBJECT, OBJECT(schema_limits), AT(config_listener, limits),
                DOC("How much clients may ask for.")},
        {"proxy_protocol", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_proxy_protocol), AT(config_listener, proxy_protocol),
                .shown = shown_proxy_protocol,
                DOC("Load balancers in front that say where a client really comes from.")},
        {"rate_limit_headers", TYPE(type_choice), AT(config_listener, rate_limit_headers),
                .choices = quota_fields, .fallback = "off",
                DOC("Whether answers tell callers what they have left of the route's limits, "
                    "shadows "
                    "aside: `standard` is `RateLimit-Policy` and `RateLimit` "
                    "(draft-ietf-httpapi-ratelimit-headers-11), whose `t` is the seconds until "
                    "there is more, `legacy` `X-RateLimit-Limit`, `-Remaining` and `-Reset` "
                    "(seconds until all is there) of the limit with the least left. Who is refused "
                    "is told of the limit that refused, and when it could pass. Fields of these "
                    "names from a backend are then left out.")},
        {"routes", .shape = SHAPE_OBJECTS, .presence = PRESENCE_REQUIRED, OBJECT(schema_route),
                AT(config_listener, routes), COUNT_AT(config_listener, route_count),
                RANGE(1, ROUTES_MAX), DOC("Where requests go; what matches none is refused.")},
};

const struct schema_object schema_listener = {DOC("An address that clients connect to."),
        .size = sizeof(struct config_listener), KEYS(listener_keys), .check = check_listener};

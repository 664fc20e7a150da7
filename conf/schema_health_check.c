#include <ctype.h>
#include <limits.h>

#include "conf/reader.h"
#include "conf/schema_row.h"
#include "conf/value.h"

enum { PATH_BYTES_MAX = 2048, SERVICE_BYTES_MAX = 256 };

static bool set_target(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	bool fits = type_fits(key, node->text) && node->text.at[0] == '/';
	for (size_t i = 0; i < node->text.len; i++)
		fits &= node->text.at[i] > ' ' && node->text.at[i] < 0x7F &&
		        node->text.at[i] != '#';
	return fits ? type_set_text(reader, key, node, field) : reader_refuse(reader, key, node);
}

static const struct schema_type type_target = {.name = "path",
        .expected = "a path such as /healthz, with a query if need be",
        .set = set_target,
        .write = type_write_text,
        .given = type_text_given,
        .bytes_max = PATH_BYTES_MAX};

static bool set_service(
        struct reader *reader, const struct schema_key *key, const struct tree *node, void *field)
{
	bool fits = node->text.len <= key->type->bytes_max;
	for (size_t i = 0; i < node->text.len; i++)
		fits &= isalnum((unsigned char)node->text.at[i]) ||
		        memchr("._-/", node->text.at[i], 4);
	if (!fits)
		return reader_refuse(reader, key, node);
	*(struct str *)field = arena_str(&reader->config->arena, node->text);
	return true;
}

static void write_service(const struct schema_key *key, const void *field, struct buffer *out)
{
	(void)key;
	value_write_text(*(const struct str *)field, out);
}

static const struct schema_type type_service = {.name = "service",
        .expected = "the name of a gRPC service such as user.UserService, or \"\" for the server",
        .set = set_service,
        .write = write_service,
        .bytes_max = SERVICE_BYTES_MAX};

static bool is_kind(const void *base, enum config_health_check_kind kind)
{
	return ((const struct config_health_check *)base)->kind == kind;
}

static bool shown_service(const void *base)
{
	return is_kind(base, HEALTH_CHECK_GRPC);
}

static bool shown_tcp(const void *base)
{
	return is_kind(base, HEALTH_CHECK_TCP);
}

static bool shown_check(const void *base)
{
	return !is_kind(base, HEALTH_CHECK_NONE);
}

static void check_health_check(struct reader *reader, const struct tree *node, void *base)
{
	struct config_health_check *check = base;
	bool path = tree_get(node, "path"), grpc = tree_get(node, "grpc");
	bool tcp = tree_get(node, "tcp");
	if (path + grpc + tcp != 1)
		reader_problem(reader, node->mark,
		        "names %s to ask; expected one of path, grpc and tcp",
		        (path + grpc + tcp) ? "several ways" : "no way");
	else if (tcp && !check->tcp)
		reader_problem_at(reader, node, "tcp",
		        "can have no effect; expected true, or path or grpc in its place");
	check->kind = grpc ? HEALTH_CHECK_GRPC : tcp ? HEALTH_CHECK_TCP : HEALTH_CHECK_HTTP;
}

static const struct schema_key health_check_keys[] = {
        {"path", .presence = PRESENCE_OPTIONAL, TYPE(type_target), AT(config_health_check, path),
                DOC("A GET in the backend's protocol; 2xx is healthy. `Host` is the endpoint as "
                    "written.")},
        {"grpc", .presence = PRESENCE_OPTIONAL, TYPE(type_service),
                AT(config_health_check, service), .shown = shown_service,
                DOC("`grpc.health.v1.Health/Check` of this service, or of the server when empty; "
                    "SERVING is healthy.")},
        {"tcp", .presence = PRESENCE_OPTIONAL, TYPE(type_flag), AT(config_health_check, tcp),
                .shown = shown_tcp,
                DOC("`true`: a connection that can be made is healthy; with `tls`, one whose "
                    "handshake is good on our side.")},
        {"interval", TYPE(type_duration), AT(config_health_check, interval_ns),
                RANGE(10 * MS_NS, HOUR_NS), .fallback = "5s", .shown = shown_check,
                DOC("From the end of one check to the next, give or take a tenth; the first comes "
                    "within one interval, at random.")},
        {"timeout", TYPE(type_duration), AT(config_health_check, timeout_ns), RANGE(MS_NS, HOUR_NS),
                .fallback = "1s", .shown = shown_check,
                DOC("A check from the connection to the end of the answer.")},
        {"unhealthy", TYPE(type_count), AT(config_health_check, unhealthy), RANGE(1, 1000),
                .fallback = "3", .shown = shown_check,
                DOC("Failed checks in a row that take an endpoint out.")},
        {"healthy", TYPE(type_count), AT(config_health_check, healthy), RANGE(1, 1000),
                .fallback = "2", .shown = shown_check,
                DOC("Good checks in a row that take it in again.")},
};

const struct schema_object schema_health_check = {
        DOC("Each worker asks each endpoint by itself, over a connection of its own. An endpoint "
            "that is not healthy gets no new requests, unless none is. Until it was asked it "
            "counts as healthy, or after a reload as what it was."),
        .size = sizeof(struct config_health_check), KEYS(health_check_keys),
        .check = check_health_check};

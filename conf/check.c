#include "conf/check.h"

#include "conf/address.h"
#include "conf/value.h"

void check_admin(struct reader *reader, const struct tree *node, void *base)
{
	const struct config *config = base;
	if (!address_is_local(&config->admin) && !config->admin_allow_remote &&
	        !tree_get(node, "tls"))
		reader_problem_at(reader, node, "address",
		        "found %s, which others can reach: the admin pages have no password; "
		        "expected a loopback address or a unix socket, or tls beside it, or "
		        "allow_remote: true",
		        value_quote(config->admin.text).text);
}

// From here on it is a listener's `tls` with one certificate.
void check_admin_tls(struct reader *reader, const struct tree *node, void *base)
{
	struct config_admin_tls *admin = base;
	(void)reader;
	admin->tls.certificates = &admin->certificate;
	admin->tls.certificate_count = 1;
	admin->tls.require_client_certificate = true;
	admin->tls.admin = true;
	admin->tls.mark = node->mark;
}

void check_tls(struct reader *reader, const struct tree *node, void *base)
{
	struct config_tls *tls = base;
	tls->mark = node->mark;
	if (!tls->require_client_certificate && tree_get(node, "require_client_certificate") &&
	        str_eq(tree_get(node, "require_client_certificate")->text, STR("false")))
		reader_problem_at(reader, node, "require_client_certificate",
		        "found 'false', expected true: every connection must present a client "
		        "certificate");
}

void check_match(struct reader *reader, const struct tree *node, void *base)
{
	bool grpc = tree_get(node, "grpc"), path = tree_get(node, "path");
	(void)base;
	if (grpc && path)
		reader_problem_at(
		        reader, node, "path", "stands beside grpc; expected either grpc or path");
	else if (!grpc && !path)
		reader_problem(reader, node->mark, "names nothing to match; expected grpc or path");
	else if (grpc && tree_get(node, "methods"))
		reader_problem_at(reader, node, "methods",
		        "can have no effect: every gRPC call is a POST; expected methods beside "
		        "path alone");
}

// RFC 9110 sections 15.3.5 and 15.4.5, RFC 9112 section 6.3.
void check_respond(struct reader *reader, const struct tree *node, void *base)
{
	enum { RESET_CONTENT = 205, NO_CONTENT = 204, NOT_MODIFIED = 304 };
	const struct config_route *route = base;
	int status = route->respond_status;
	bool bodiless = status == NO_CONTENT || status == RESET_CONTENT || status == NOT_MODIFIED;
	if (bodiless && route->respond_body.len)
		reader_problem_at(reader, node, "body",
		        "can have no effect: an answer with status %d has no body; expected it "
		        "left out",
		        status);
}

static void derive_per(struct config_rate_limit *limit)
{
	limit->per_count = limit->per_names.count;
	for (size_t i = 0; i < limit->per_count; i++) {
		struct str name = limit->per_names.items[i].text;
		if (str_eq(name, STR("identity"))) {
			limit->per[i].kind = PER_IDENTITY;
		} else if (str_eq(name, STR("method"))) {
			limit->per[i].kind = PER_METHOD;
		} else if (str_eq(name, STR("source_ip"))) {
			limit->per[i].kind = PER_SOURCE_IP;
		} else {
			limit->per[i].kind = PER_HEADER;
			limit->per[i].header = str_skip(name, strlen("header:"));
		}
	}
}

// The limiter counts in signed 64-bit nanoseconds: a full bucket's worth of time has to fit, with
// decades to spare. No one waits a year for tokens on purpose.
static bool refills_in_time(const struct config_rate_limit *limit)
{
	const int64_t year_ns = INT64_C(366) * 24 * 3600 * 1000000000;
	unsigned __int128 needed = (unsigned __int128)limit->burst *
	                           (unsigned __int128)limit->rate_period_ns;
	return needed <= (unsigned __int128)limit->rate_count * (unsigned __int128)year_ns;
}

void check_rate_limit(struct reader *reader, const struct tree *node, void *base)
{
	struct config_rate_limit *limit = base;
	limit->mark = node->mark;
	derive_per(limit);
	if (limit->rate_count && !refills_in_time(limit))
		reader_problem_at(reader, node, "burst",
		        "takes more than a year to refill at this rate; expected a smaller burst "
		        "or a higher rate");
	if (tree_get(node, "max_keys") && !tree_get(node, "per"))
		reader_problem_at(reader, node, "max_keys",
		        "can have no effect without per; expected it left out, or per given");
	if (limit->store == STORE_REDIS)
		reader_problem_at(reader, node, "store",
		        "found 'redis': this version has no shared limits; expected local");
}

void check_route(struct reader *reader, const struct tree *node, void *base)
{
	struct config_route *route = base;
	bool backend = tree_get(node, "backend"), respond = tree_get(node, "respond");
	route->mark = node->mark;
	route->backend = -1;
	route->upgrade_websocket = route->upgrades.count > 0;
	if (backend && respond)
		reader_problem_at(reader, node, "respond",
		        "stands beside backend; expected either backend or respond");
	else if (!backend && !respond)
		reader_problem(reader, node->mark,
		        "leads nowhere; expected backend or respond beside match");
	if (backend || !respond)
		return;
	if (tree_get(node, "timeout"))
		reader_problem_at(reader, node, "timeout",
		        "can have no effect beside respond; expected it left out");
	if (tree_get(node, "upgrade"))
		reader_problem_at(reader, node, "upgrade",
		        "can have no effect beside respond; expected it left out");
}

bool shown_admin(const void *base)
{
	return ((const struct config *)base)->admin.kind != ADDRESS_NONE;
}

bool shown_admin_tls(const void *base)
{
	return ((const struct config *)base)->admin_tls.tls.certificate_count > 0;
}

bool shown_redis(const void *base)
{
	return ((const struct config_redis *)base)->address.kind != ADDRESS_NONE;
}

bool shown_answer(const void *base)
{
	return ((const struct config_route *)base)->backend < 0;
}

bool shown_forward(const void *base)
{
	return ((const struct config_route *)base)->backend >= 0;
}

bool shown_split(const void *base)
{
	return ((const struct config_rate_limit *)base)->per_count > 0;
}

bool shown_shared(const void *base)
{
	return ((const struct config_rate_limit *)base)->store == STORE_REDIS;
}

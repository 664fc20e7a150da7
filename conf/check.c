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

static void derive_per(struct config_split *split)
{
	split->per_count = split->per_names.count;
	for (size_t i = 0; i < split->per_count; i++) {
		struct str name = split->per_names.items[i].text;
		if (str_eq(name, STR("identity"))) {
			split->per[i].kind = PER_IDENTITY;
		} else if (str_eq(name, STR("method"))) {
			split->per[i].kind = PER_METHOD;
		} else if (str_eq(name, STR("source_ip"))) {
			split->per[i].kind = PER_SOURCE_IP;
		} else {
			split->per[i].kind = PER_HEADER;
			split->per[i].header = str_skip(name, strlen("header:"));
		}
	}
}

static void check_split(struct reader *reader, const struct tree *node, struct config_split *split)
{
	derive_per(split);
	if (tree_get(node, "max_keys") && !tree_get(node, "per"))
		reader_problem_at(reader, node, "max_keys",
		        "can have no effect without per; expected it left out, or per given");
}

void check_call_limit(struct reader *reader, const struct tree *node, void *base)
{
	struct config_call_limit *limit = base;
	limit->mark = node->mark;
	check_split(reader, node, &limit->split);
}

bool shown_call_split(const void *base)
{
	return ((const struct config_call_limit *)base)->split.per_count > 0;
}

// The limiter counts in signed 64-bit nanoseconds: a full bucket's worth of time has to fit, with
// decades to spare. No one waits a year for tokens on purpose.
static void check_refill(
        struct reader *reader, const struct tree *node, const struct config_rate_limit *limit)
{
	const int64_t year_ns = INT64_C(366) * 24 * 3600 * 1000000000;
	unsigned __int128 needed = (unsigned __int128)limit->burst *
	                           (unsigned __int128)limit->rate_period_ns;
	if (limit->rate_count &&
	        needed > (unsigned __int128)limit->rate_count * (unsigned __int128)year_ns)
		reader_problem_at(reader, node, "burst",
		        "takes more than a year to refill at this rate; expected a smaller burst "
		        "or a higher rate");
}

void check_override(struct reader *reader, const struct tree *node, void *base)
{
	struct config_override *override = base;
	override->limit.mark = node->mark;
	check_refill(reader, node, &override->limit);
}

// The limit as it is for those it overrides.
static void complete_overrides(struct reader *reader, const struct config_rate_limit *limit)
{
	reader_enter(reader, "overrides");
	for (size_t i = 0; i < limit->override_count; i++) {
		struct config_rate_limit *own = &limit->overrides[i].limit, whole = *limit;
		whole.rate_count = own->rate_count;
		whole.rate_period_ns = own->rate_period_ns;
		whole.burst = own->burst;
		whole.mark = own->mark;
		whole.overrides = NULL;
		whole.override_count = 0;
		*own = whole;
		uint64_t least = limit->fleet > limit->lease ? limit->fleet : limit->lease;
		if (!own->burst || own->burst >= least)
			continue;
		reader_enter_item(reader, i);
		reader_enter(reader, "burst");
		reader_problem(reader, own->mark,
		        "is less than the limit's fleet or lease; expected at least %llu",
		        (unsigned long long)least);
		reader_leave(reader);
		reader_leave(reader);
	}
	reader_leave(reader);
}

static void check_store(
        struct reader *reader, const struct tree *node, const struct config_rate_limit *limit)
{
	static const char *const of_redis[] = {"on_failure", "lease"};
	for (size_t i = 0; limit->store == STORE_LOCAL && i < ARRAY_LEN(of_redis); i++)
		if (tree_get(node, of_redis[i]))
			reader_problem_at(reader, node, of_redis[i],
			        "can have no effect without store: redis; expected it left out");
	// Blocks are read in the order of the schema: that of redis is known by now.
	if (limit->store == STORE_REDIS && !reader->config->redis.mark.line)
		reader_problem_at(reader, node, "store",
		        "found 'redis', and no server is named; expected a block such as "
		        "redis: {address: 127.0.0.1:6379} at the top of the file");
	if (limit->store == STORE_REDIS && limit->lease > limit->burst && limit->burst)
		reader_problem_at(reader, node, "lease",
		        "is more than the bucket ever holds; expected at most the burst, %llu",
		        (unsigned long long)limit->burst);
	if (limit->store == STORE_REDIS && limit->lease > 1 && limit->shadow)
		reader_problem_at(reader, node, "lease",
		        "can have no effect beside shadow; expected it left out");
	if (limit->store == STORE_REDIS && limit->fleet > 1 &&
	        limit->on_failure != STORE_FAILURE_LOCAL)
		reader_problem_at(reader, node, "fleet",
		        "can have no effect: no bucket of this process counts; expected it left "
		        "out, or on_failure: local");
}

void check_rate_limit(struct reader *reader, const struct tree *node, void *base)
{
	struct config_rate_limit *limit = base;
	limit->mark = node->mark;
	check_split(reader, node, &limit->split);
	check_refill(reader, node, limit);
	if (limit->fleet > limit->burst && limit->burst)
		reader_problem_at(reader, node, "fleet",
		        "leaves less than one token of burst to each gateway; expected at most "
		        "%llu",
		        (unsigned long long)limit->burst);
	check_store(reader, node, limit);
	complete_overrides(reader, limit);
}

bool shown_admin(const void *base)
{
	return ((const struct config *)base)->admin.kind != ADDRESS_NONE;
}

bool shown_admin_tls(const void *base)
{
	return ((const struct config *)base)->admin_tls.tls.certificate_count > 0;
}

bool shown_split(const void *base)
{
	return ((const struct config_rate_limit *)base)->split.per_count > 0;
}

bool shown_shared(const void *base)
{
	return ((const struct config_rate_limit *)base)->store == STORE_REDIS;
}

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
	admin->tls.side = TLS_OF_ADMIN;
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

bool shown_admin(const void *base)
{
	return ((const struct config *)base)->admin.kind != ADDRESS_NONE;
}

bool shown_admin_tls(const void *base)
{
	return ((const struct config *)base)->admin_tls.tls.mark.line > 0;
}

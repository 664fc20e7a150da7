// What the admin listener answers to a request: guard, endpoint table, body. It calls the gateway's
// hooks and nothing else: no sockets, no codec. The main thread only. The answer's body is the
// caller's to free.
#ifndef GATEWAY_ADMIN_ANSWER_H
#define GATEWAY_ADMIN_ANSWER_H

#include "gateway/admin.h"
#include "gateway/http/head.h"

struct admin_answer {
	int status;
	const char *type;    // content-type
	const char *allow;   // of a 405, else NULL
	const char *policy;  // content-security-policy, where the body is a page, else NULL
	struct buffer body;
};

// Whom the request asks: the hooks, and whether it came through the unix socket, which no browser
// can be led to, or through TLS, where a name that was rebound to us has no certificate.
struct admin_gate {
	const struct admin_hooks *hooks;
	void *gateway;
	bool unix_socket, tls;
};

void admin_answer(
        const struct admin_gate *gate, const struct head *request, struct admin_answer *answer);
// To a caller who is refused: the same words as on the data path.
void admin_answer_refusal(struct admin_answer *answer, enum reason reason);
// For what the codec could not take as a request.
void admin_answer_text(struct admin_answer *answer, int status, const char *text);

#endif

// What several keys of one object say together, called by the reader once the object is filled.
// Each adds its problems and derives the fields that stand for several keys (`per`,
// `upgrade_websocket`). Those of header fields stand in check_headers.c, those of limits in
// check_limits.c, what a route does with a request in check_route.c. Also which keys mean something
// beside their siblings, for the dump.
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include "conf/reader.h"

void check_admin(struct reader *reader, const struct tree *node, void *config);
void check_admin_tls(struct reader *reader, const struct tree *node, void *admin_tls);
void check_tls(struct reader *reader, const struct tree *node, void *tls);
void check_match(struct reader *reader, const struct tree *node, void *route);
void check_respond(struct reader *reader, const struct tree *node, void *route);
void check_rate_limit(struct reader *reader, const struct tree *node, void *rate_limit);
void check_cost(struct reader *reader, const struct tree *node, void *cost);
void check_call_override(struct reader *reader, const struct tree *node, void *override);
void check_call_limit(struct reader *reader, const struct tree *node, void *call_limit);
bool shown_call_split(const void *call_limit);
void check_flow_override(struct reader *reader, const struct tree *node, void *override);
void check_flow_limit(struct reader *reader, const struct tree *node, void *flow_limit);
bool shown_flow_split(const void *flow_limit);
void check_override(struct reader *reader, const struct tree *node, void *override);
void check_request_headers(struct reader *reader, const struct tree *node, void *rules);
void check_response_headers(struct reader *reader, const struct tree *node, void *rules);
void check_mirror(struct reader *reader, const struct tree *node, void *mirror);
void check_redirect(struct reader *reader, const struct tree *node, void *redirect);
void check_rewrite(struct reader *reader, const struct tree *node, void *target);
void check_route(struct reader *reader, const struct tree *node, void *route);

// Takes the endpoints that were read over into the backend.
void check_endpoints(
        struct reader *reader, const struct tree *node, struct config_backend *backend);
void check_listener(struct reader *reader, const struct tree *node, void *listener);

bool shown_admin(const void *config);
bool shown_admin_tls(const void *config);
bool shown_answer(const void *route);  // the route answers by itself
bool shown_mirror(const void *mirror);
bool shown_redirect(const void *redirect);
bool shown_forward(const void *route);  // the route has a backend
bool shown_priority(const void *route);
bool shown_retry(const void *route);
bool shown_split(const void *rate_limit);
bool shown_cost_body(const void *cost);
bool shown_cost_max(const void *cost);
bool shown_shared(const void *rate_limit);

#endif

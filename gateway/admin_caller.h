// Who calls the admin listener, where it asks for certificates (`admin.tls`): the verdict on every
// request, by the policy in force then, and one audit record for whoever is refused, with or
// without a request. Without TLS everybody passes: reaching the socket is the permission. No
// sockets and no answers here; the main thread.
#ifndef GATEWAY_ADMIN_CALLER_H
#define GATEWAY_ADMIN_CALLER_H

#include "gateway/admin_connection.h"

// REASON_NONE: the request may be answered. Else it is on record.
enum reason admin_caller_judge(struct admin_connection *connection, const struct head *request);

// Nobody whose request was answered yet, on a connection that is not closing.
bool admin_caller_is_stranger(const struct admin_connection *connection);

// The caller is gone, or out of time: a handshake that failed, and a refusal that no request made
// visible, are put on record. A connection that said nothing at all is none.
void admin_caller_left(struct admin_connection *connection, enum link_end why);

#endif

// The limits that a fleet shares, as one worker sees them: asks Redis for tokens, one script call
// for all shared limits of a request (limit_script.lua), keeps what was leased and what was refused
// for a short while (limit_stock.h), and says so where there is no answer; what happens then is the
// policy's to decide. Tells log, audit and metrics of a server that is lost and of its return.
// Owned by the worker; its thread only. Never waits, never makes a token.
#ifndef GATEWAY_LIMIT_STORE_H
#define GATEWAY_LIMIT_STORE_H

#include "policy/policy.h"

struct limit_store;  // opaque
struct limit_ask;    // opaque: a request that waits for tokens
struct worker;

MUST_USE struct limit_store *limit_store_new(struct worker *worker);
void limit_store_free(struct limit_store *store);  // once it is not open any more

// The configuration in force; NULL: none any more, connections close.
void limit_store_use(struct limit_store *store, struct config *config);
bool limit_store_open(const struct limit_store *store);  // connections exist

// Sees to an answer for every claim, or to one refusal among them. NULL: they are there. Otherwise
// `answered` is called, once, unless the ask is dropped before; claims and arena stay until then.
MUST_USE struct limit_ask *limit_store_ask(struct limit_store *store, struct policy_claim *claims,
        size_t count, struct arena *arena, void (*answered)(void *user), void *user);
// Nobody waits any more. What is granted nevertheless is lost, as of a call that was cancelled.
void limit_store_drop(struct limit_ask *ask);
// The call is refused all the same: the tokens its claims were granted are for the next ones.
void limit_store_give_back(
        struct limit_store *store, const struct policy_claim *claims, size_t count);

#endif

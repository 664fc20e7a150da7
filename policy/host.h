// The authority of a request (Host, :authority), made comparable: RFC 9110, 7.2 and RFC 3986,
// 3.2.2, but narrower. Spellings of one host become one: lower case, no port, no final dot, the
// address of an IPv6 literal in its canonical form. User information, escapes, the sub-delimiters
// of reg-name and whatever is not a host are refused, never repaired. Pure; any thread; the result
// lives in the caller's arena.
#ifndef POLICY_HOST_H
#define POLICY_HOST_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

enum { HOST_MAX = 255 };

// `api.example.com`, `127.0.0.1`, `[::1]`; each with or without `:port`. False when it is no valid
// authority.
MUST_USE bool host_normalise(struct str authority, struct arena *arena, struct str *host);

#endif

// The page for people at `/` of the admin listener: the gateway's state, its key figures and where
// to look further. Made from the metrics text, so that it can never disagree with a scrape. Pure;
// any thread.
#ifndef GATEWAY_ADMIN_PAGE_H
#define GATEWAY_ADMIN_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

// Nothing is loaded from anywhere, no script runs, and the one style sheet is known by its hash.
#define ADMIN_PAGE_POLICY                                                                          \
	"default-src 'none'; style-src 'sha256-" ADMIN_PAGE_STYLE_HASH                             \
	"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#define ADMIN_PAGE_STYLE_HASH "AO/0YOPnIRH1CtJiErLJOsCLBHANf3qjT+Fxg30g1jU="

void admin_page(struct buffer *out, bool ready, struct str metrics, int64_t now_s);

#endif

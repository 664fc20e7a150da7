// The page for people at `/` of the admin listener, put together from the files of gateway/page/
// and, for browsers without scripts, totals made from the metrics text, so that they can never
// disagree with a scrape. Nothing is loaded from anywhere else: style and script stand in the page
// and are known to its policy by their hashes. Pure; any thread.
#ifndef GATEWAY_ADMIN_PAGE_H
#define GATEWAY_ADMIN_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

// The Content-Security-Policy to send with it; lives for ever.
const char *admin_page_policy(void);

void admin_page(struct buffer *out, bool ready, struct str metrics, int64_t now_s);

#endif

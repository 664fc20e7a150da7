// libcurl, found at run time: it sends spans and nothing else, and brings some thirty libraries
// with it, of which a gateway without `tracing`, or a `tollgate version`, is to know nothing. It is
// loaded once, by the main thread while it is alone and may still open any file: before the sandbox
// closes, before root is given up. It then stays until the process ends, for its libraries keep
// what they do at the exit. What it links that is ours too (OpenSSL, nghttp2) is the very one that
// is there, and our definitions in front of OpenSSL's (tls/lookup.h) hold for it likewise. The
// functions are libcurl's own, and so are the rules for threads.
#ifndef GATEWAY_LIBCURL_H
#define GATEWAY_LIBCURL_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/check.h"

#define LIBCURL_FUNCTIONS(EACH)                                                                    \
	EACH(global_init)                                                                          \
	EACH(global_cleanup)                                                                       \
	EACH(version_info)                                                                         \
	EACH(easy_init)                                                                            \
	EACH(easy_cleanup)                                                                         \
	EACH(easy_setopt)                                                                          \
	EACH(easy_getinfo)                                                                         \
	EACH(easy_strerror)                                                                        \
	EACH(multi_init)                                                                           \
	EACH(multi_cleanup)                                                                        \
	EACH(multi_add_handle)                                                                     \
	EACH(multi_remove_handle)                                                                  \
	EACH(multi_perform)                                                                        \
	EACH(multi_poll)                                                                           \
	EACH(multi_info_read)                                                                      \
	EACH(multi_wakeup)                                                                         \
	EACH(slist_append)                                                                         \
	EACH(slist_free_all)

// Without the prefix: curl.h has macros of some names.
struct libcurl {
#define LIBCURL_MEMBER(name) __typeof__(curl_##name) *name;
	LIBCURL_FUNCTIONS(LIBCURL_MEMBER)
#undef LIBCURL_MEMBER
};

extern struct libcurl libcurl;  // once it is loaded

// Idempotent. NULL, or why it cannot be had: until the next call.
MUST_USE const char *libcurl_load(void);

#endif

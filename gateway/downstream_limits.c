// How much a connection may ask for, by the configuration that it follows.
#include "gateway/downstream.h"

enum {
	REFUSED_HEADER_BYTES = 8 * 1024,
	// What is a ceiling even where none is configured.
	HEADER_BYTES_MAX = 1024 * 1024,
	HEADER_FIELDS_MAX = 10000,
};

struct codec_limits downstream_limits(const struct downstream *downstream)
{
	const struct config_limits *configured = &downstream_config(downstream)->limits;
	bool refused = downstream->standing != REASON_NONE;
	struct codec_limits limits = {
	        .header_bytes = configured->header_bytes ? configured->header_bytes
	                                                 : HEADER_BYTES_MAX,
	        .header_fields = configured->header_fields ? configured->header_fields
	                                                   : HEADER_FIELDS_MAX,
	        .concurrent_streams = configured->concurrent_streams
	                                      ? (uint32_t)configured->concurrent_streams
	                                      : UINT32_MAX,
	        .refused = refused,
	};
	if (refused && limits.header_bytes > REFUSED_HEADER_BYTES)
		limits.header_bytes = REFUSED_HEADER_BYTES;
	return limits;
}

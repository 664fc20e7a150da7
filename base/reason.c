#include "base/reason.h"

#include "base/check.h"

static const struct {
	const char *name, *title;
	int http, grpc;
} reasons[REASON_COUNT] = {
        [REASON_NONE] = {"none", "", 0, 0},
#define REASON(name, http, grpc, title) [REASON_##name] = {#name, title, http, grpc},
#include "base/reason.def"
#undef REASON
};

const char *reason_name(enum reason reason)
{
	CHECK(reason < REASON_COUNT);
	return reasons[reason].name;
}

const char *reason_title(enum reason reason)
{
	CHECK(reason < REASON_COUNT);
	return reasons[reason].title;
}

int reason_http_status(enum reason reason)
{
	CHECK(reason < REASON_COUNT);
	return reasons[reason].http;
}

int reason_grpc_status(enum reason reason)
{
	CHECK(reason < REASON_COUNT);
	return reasons[reason].grpc;
}

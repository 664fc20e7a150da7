#include "conf/schema_row.h"

enum { WEIGHT_MAX = 1000000 };

static const struct schema_key share_keys[] = {
        {"name", .presence = PRESENCE_REQUIRED, TYPE(type_name), AT(config_share, name),
                DOC("The name of a backend.")},
        {"weight", .presence = PRESENCE_REQUIRED, TYPE(type_count), AT(config_share, weight),
                RANGE(0, WEIGHT_MAX),
                DOC("Its part of what all of them have together; with 0 it gets no requests.")},
};

const struct schema_object schema_share = {
        DOC("A backend that gets a share of the requests, at random for each; further attempts for "
            "a request stay with it."),
        .size = sizeof(struct config_share), KEYS(share_keys)};

static const struct schema_key mirror_keys[] = {
        {"backend", .presence = PRESENCE_REQUIRED, TYPE(type_name), AT(config_mirror, backend_name),
                DOC("The name of the backend that gets the copies.")},
        {"share", TYPE(type_ratio), AT(config_mirror, share), .fallback = "1",
                .shown = shown_mirror, DOC("Of the requests, how many are copied, up to 1.")},
};

const struct schema_object schema_mirror = {
        DOC("Copies of requests, sent once the request is whole, over connections of their own; "
            "what becomes of them is only counted. Not copied is a request with more than 64 KiB "
            "of body, one that is refused, broken off or answered before it is whole, one "
            "that upgrades, and whatever comes while 256 copies of a worker are on their way. A "
            "copy has 10 s."),
        .size = sizeof(struct config_mirror), KEYS(mirror_keys), .check = check_mirror};

static const struct schema_key redirect_keys[] = {
        {"status", TYPE(type_status), AT(config_redirect, status), RANGE(300, 399),
                .fallback = "302", .shown = shown_redirect,
                DOC("301, 302, 303, 307 or 308; the last two keep the method.")},
        {"host", .presence = PRESENCE_OPTIONAL, TYPE(type_authority),
                AT(config_redirect, target.host),
                DOC("Another host, perhaps with a port; without the key the one asked for.")},
        {"path", .presence = PRESENCE_OPTIONAL, TYPE(type_target_path),
                AT(config_redirect, target.path),
                DOC("Another path; without `path` and `prefix` the one asked for.")},
        {"prefix", .presence = PRESENCE_OPTIONAL, TYPE(type_target_path),
                AT(config_redirect, target.prefix),
                DOC("Takes the place of the prefix that a `match.path` like `/api/*` matched.")},
};

const struct schema_object schema_redirect = {
        DOC("Sends the client to an `https` URL; the query is kept. A gRPC call gets the status "
            "that gRPC's HTTP mapping gives."),
        .size = sizeof(struct config_redirect), KEYS(redirect_keys), .check = check_redirect};

static const struct schema_key rewrite_keys[] = {
        {"prefix", .presence = PRESENCE_OPTIONAL, TYPE(type_target_path), AT(config_target, prefix),
                DOC("Takes the place of the prefix that a `match.path` like `/api/*` matched: with "
                    "`/v2` the backend is asked for `/v2/x` instead of `/api/x`, with `/` for "
                    "`/x`.")},
        {"path", .presence = PRESENCE_OPTIONAL, TYPE(type_target_path), AT(config_target, path),
                DOC("The path that the backend is asked for, whatever the client's.")},
        {"host", .presence = PRESENCE_OPTIONAL, TYPE(type_authority), AT(config_target, host),
                DOC("The `Host` or `:authority` that the backend is told, perhaps with a port; "
                    "`X-Forwarded-Host` then has the client's.")},
};

const struct schema_object schema_rewrite = {
        DOC("What the backend is asked for instead. The query is kept. What is judged, logged and "
            "counted is the client's request; the path of a gRPC match cannot be rewritten."),
        .size = sizeof(struct config_target), KEYS(rewrite_keys), .check = check_rewrite};

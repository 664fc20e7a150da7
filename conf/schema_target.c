#include "conf/schema_row.h"

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

#include "conf/schema_row.h"

enum { LISTENERS_MAX = 64, BACKENDS_MAX = 1000, ADMIN_PATTERNS_MAX = 1000 };

static const struct schema_key admin_tls_keys[] = {
        {"certificate_chain", .presence = PRESENCE_REQUIRED, TYPE(type_file),
                AT(config_admin_tls, certificate.certificate_chain),
                DOC("PEM file: the certificate of the admin listener first, then the "
                    "intermediates.")},
        {"private_key", .presence = PRESENCE_REQUIRED, TYPE(type_file),
                AT(config_admin_tls, certificate.private_key),
                DOC("PEM file: the key of that certificate, closed to others as a listener's.")},
        {"trusted_ca", .presence = PRESENCE_REQUIRED, TYPE(type_file),
                AT(config_admin_tls, tls.trusted_ca),
                DOC("PEM file: only these roots vouch for operators.")},
        {"crl", .presence = PRESENCE_OPTIONAL, TYPE(type_file), AT(config_admin_tls, tls.crl),
                DOC("PEM file with revocation lists.")},
        {"match_subject_alt_names", .shape = SHAPE_TEXTS, .presence = PRESENCE_REQUIRED,
                TYPE(type_pattern), AT(config_admin_tls, tls.match_subject_alt_names),
                RANGE(1, ADMIN_PATTERNS_MAX), .missing = "without patterns nobody would be let in",
                DOC("The SPIFFE IDs of those who may look, reload and drain.")},
};

static const struct schema_object schema_admin_tls = {
        DOC("HTTPS for the admin listener, with a client certificate from everybody; replaced "
            "files are taken up as those of listeners are."),
        .size = sizeof(struct config_admin_tls), KEYS(admin_tls_keys), .check = check_admin_tls};

static const struct schema_key admin_keys[] = {
        {"address", .reload = RELOAD_RESTART, .presence = PRESENCE_REQUIRED, TYPE(type_address),
                AT(config, admin), DOC("A loopback address or a unix socket; with `tls` any.")},
        {"allow_remote", .reload = RELOAD_RESTART, TYPE(type_flag), AT(config, admin_allow_remote),
                .fallback = "false", .shown = shown_admin,
                DOC("Lets `address` be one that others can reach without `tls`; there is no "
                    "password. A Host that is neither an address nor localhost gets 403 there, "
                    "or web pages could have their visitors ask.")},
        {"tls", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_admin_tls),
                AT(config, admin_tls), .shown = shown_admin_tls,
                DOC("HTTPS and client certificates; with it others may reach `address`.")},
};

static const struct schema_object schema_admin = {DOC("Health, metrics and inspection, over plain "
                                                      "HTTP unless `tls` is given; off without the "
                                                      "key."),
        .size = sizeof(struct config), KEYS(admin_keys), .check = check_admin};

static const char *const audit_failures[] = {"continue", "refuse", NULL};

static const struct schema_key audit_keys[] = {
        {"path", .reload = RELOAD_RESTART, TYPE(type_output), AT(config, audit),
                .fallback = "stderr", DOC("Where records go, one JSON object a line.")},
        {"fold_after", TYPE(type_count), AT(config, audit_fold_after), RANGE(1, 1000000000),
                .fallback = "1000",
                DOC("Like records of one caller in a second before further ones are counted in "
                    "one.")},
        {"on_failure", TYPE(type_choice), AT(config, audit_on_failure), .choices = audit_failures,
                .fallback = "continue",
                DOC("When the disk refuses: `continue` counts and shouts, `refuse` lets nobody "
                    "in.")},
};

static const struct schema_object schema_audit = {
        DOC("The record of every refusal."), .size = sizeof(struct config), KEYS(audit_keys)};

static const struct schema_key access_log_keys[] = {
        {"path", .reload = RELOAD_RESTART, .presence = PRESENCE_REQUIRED, TYPE(type_output),
                AT(config, access_log), DOC("Where lines go, one JSON object each.")},
};

static const struct schema_object schema_access_log = {
        DOC("A line for every request; off unless given."), .size = sizeof(struct config),
        KEYS(access_log_keys)};

static const char *const versions[] = {"tollgate/v1", NULL};
static const char *const sandboxes[] = {"auto", "off", NULL};

static void check_config(struct reader *reader, const struct tree *node, void *base)
{
	(void)reader, (void)node;
	schema_run_as_spread(base);
}

static const struct schema_key config_keys[] = {
        {"version", .presence = PRESENCE_REQUIRED, TYPE(type_choice), AT(config, version),
                .choices = versions, DOC("The language of this file.")},
        {"workers", .reload = RELOAD_RESTART, TYPE(type_workers), AT(config, workers),
                RANGE(1, 1024), .fallback = "auto",
                DOC("Event loops, one thread each; `auto` is one per CPU this process may use.")},
        {"run_as", .shape = SHAPE_OBJECT, .reload = RELOAD_RESTART, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_run_as), AT(config, run_as),
                DOC("Who the process becomes after it has started.")},
        {"sandbox", .reload = RELOAD_RESTART, TYPE(type_choice), AT(config, sandbox),
                .choices = sandboxes, .fallback = "auto",
                DOC("`auto`: after it has started, the process may make only the system calls it "
                    "needs (seccomp), and reach only the directories of the files named here, of "
                    "its logs and of the resolver (Landlock), as far as the kernel has them.")},
        {"memory", TYPE(type_memory), AT(config, memory),
                RANGE(UINT64_C(16) << 20, UINT64_C(1) << 50), .fallback = "auto",
                DOC("Resident memory of the process above which newcomers are refused as "
                    "`overloaded`; `auto` is four fifths of what the machine or the control "
                    "group has, 0 is no ceiling.")},
        {"drain_timeout", TYPE(type_duration), AT(config, drain_timeout_ns), RANGE(0, DAY_NS),
                .fallback = "30s", DOC("How long calls in flight may go on after SIGTERM.")},
        {"watch_config", TYPE(type_flag), AT(config, watch_config), .fallback = "false",
                DOC("Reloads by itself when this file has changed and then rested for a second. "
                    "Certificates, keys, bundles and lists are watched in any case.")},
        {"admin", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_admin),
                DOC("Health, metrics and inspection.")},
        {"audit", .shape = SHAPE_OBJECT, OBJECT(schema_audit), DOC("The record of every refusal.")},
        {"access_log", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL,
                OBJECT(schema_access_log), DOC("A line for every request.")},
        {"tracing", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_tracing),
                AT(config, tracing), DOC("Spans of requests, for a collector.")},
        {"dns", .shape = SHAPE_OBJECT, OBJECT(schema_dns), AT(config, dns),
                DOC("How the names of servers are looked up.")},
        {"redis", .shape = SHAPE_OBJECT, .presence = PRESENCE_OPTIONAL, OBJECT(schema_redis),
                AT(config, redis), DOC("The shared store.")},
        {"listeners", .shape = SHAPE_OBJECTS, .presence = PRESENCE_REQUIRED,
                OBJECT(schema_listener), AT(config, listeners), COUNT_AT(config, listener_count),
                RANGE(1, LISTENERS_MAX), DOC("Where clients connect.")},
        {"backends", .shape = SHAPE_OBJECTS, .presence = PRESENCE_OPTIONAL, OBJECT(schema_backend),
                AT(config, backends), COUNT_AT(config, backend_count), RANGE(0, BACKENDS_MAX),
                DOC("Where requests go.")},
};

const struct schema_object schema_config = {DOC("The whole file."), .size = sizeof(struct config),
        KEYS(config_keys), .check = check_config};

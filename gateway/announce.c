#include "gateway/announce.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/doubts.h"
#include "gateway/expiry.h"
#include "gateway/sandbox.h"
#include "gateway/version.h"

enum { NAMES_MAX = 4, CERTIFICATES_MAX = 8, PROBLEMS_MAX = 20 };

// Words with commas between them; of many the first few and how many more.
struct words {
	struct buffer text;
	size_t count;
	const char *comma;
};

static void add_word(struct words *words, struct str word)
{
	if (words->count++ >= NAMES_MAX)
		return;
	if (buffer_len(&words->text))
		buffer_append_str(&words->text, str_from(words->comma));
	buffer_append_str(&words->text, word);
}

static struct str all_words(struct words *words)
{
	if (words->count > NAMES_MAX)
		buffer_printf(
		        &words->text, "%sand %zu more", words->comma, words->count - NAMES_MAX);
	words->count = 0;
	return buffer_str(&words->text);
}

static void announce_listener(const struct config_listener *listener)
{
	const struct config_tls *tls = &listener->tls;
	struct words identities = {.comma = ", "};
	for (size_t i = 0; i < tls->match_subject_alt_names.count; i++)
		add_word(&identities, tls->match_subject_alt_names.items[i].text);
	log_event(LOG_INFO, "listening",
	        "listener=%.*s address=%.*s identities=\"%.*s\" unauthenticated=%s "
	        "tls=\"%s\" routes=%zu",
	        STR_FMT(listener->name.text), STR_FMT(listener->address.text),
	        STR_FMT(all_words(&identities)),
	        tls->on_unauthenticated == UNAUTHENTICATED_ALERT ? "alert" : "forbid",
	        tls->min_version == TLS_1_3 ? "1.3" : "1.2 or later", listener->route_count);
	buffer_fini(&identities.text);
}

struct tour {
	const char *listener;
	int64_t now_s;
	size_t certificates, lists;
	const struct tls_expiry *first_further;  // of the certificates beyond those named
	struct words authorities;
	struct str file;
	const struct tls_expiry *first_trusted;  // to end
};

static bool is_role(const struct tls_expiry *what, const char *role)
{
	return strcmp(what->role, role) == 0;
}

static void keep_first(const struct tls_expiry **first, const struct tls_expiry *what)
{
	if (!*first || what->ends_s < (*first)->ends_s)
		*first = what;
}

static void meet_certificate(struct tour *tour, const struct tls_expiry *what)
{
	char left[EXPIRY_SPAN_SIZE];
	if (tour->certificates++ >= CERTIFICATES_MAX) {
		keep_first(&tour->first_further, what);
		return;
	}
	expiry_span(what->ends_s - tour->now_s, left);
	log_event(LOG_INFO, "serving",
	        "listener=%s certificate=\"%.*s\" name=\"%.*s\" ends=%.*s left=%s", tour->listener,
	        STR_FMT(what->file), STR_FMT(what->name), STR_FMT(what->ends), left);
}

static void meet(const struct tls_expiry *what, void *argument)
{
	struct tour *tour = argument;
	if (is_role(what, "certificate"))
		meet_certificate(tour, what);
	if (is_role(what, "trusted_ca")) {
		add_word(&tour->authorities, what->name);
		tour->file = what->file;
	}
	tour->lists += is_role(what, "crl");
	if (is_role(what, "trusted_ca") || is_role(what, "crl"))
		keep_first(&tour->first_trusted, what);
}

static void announce_tls(const char *label, const struct tls_context *tls)
{
	struct tour tour = {.listener = label,
	        .now_s = clock_wall_ns() / NS_PER_S,
	        .authorities = {.comma = "; "}};
	char left[EXPIRY_SPAN_SIZE];
	tls_context_expiries(tls, meet, &tour);
	if (tour.first_further)
		log_event(LOG_INFO, "serving more", "listener=%s certificates=%zu first_ends=%.*s",
		        tour.listener, tour.certificates - CERTIFICATES_MAX,
		        STR_FMT(tour.first_further->ends));
	expiry_span(tour.first_trusted->ends_s - tour.now_s, left);
	size_t count = tour.authorities.count;
	log_event(LOG_INFO, "trusting",
	        "listener=%s file=\"%.*s\" authorities=%zu names=\"%.*s\" lists=%zu "
	        "first_ends=%.*s left=%s",
	        tour.listener, STR_FMT(tour.file), count, STR_FMT(all_words(&tour.authorities)),
	        tour.lists, STR_FMT(tour.first_trusted->ends), left);
	buffer_fini(&tour.authorities.text);
}

static struct str output_words(const struct config_output *output)
{
	switch (output->kind) {
	case OUTPUT_OFF:
		return STR("off");
	case OUTPUT_STDOUT:
		return STR("stdout");
	case OUTPUT_STDERR:
		return STR("stderr");
	case OUTPUT_FILE:
		return output->path;
	}
	return STR("");
}

// Why, says whoever asks for them from now on (names.c).
void announce_unknown(const struct config *config)
{
	size_t told = 0;
	for (size_t i = 0; i < config->backend_count; i++)
		for (size_t j = 0; j < config->backends[i].endpoint_count; j++) {
			const struct config_address *address = &config->backends[i].endpoints[j];
			if (!address->unknown || told++ >= PROBLEMS_MAX)
				continue;
			log_event(LOG_WARN, "endpoint has no address yet",
			        "backend=%.*s endpoint=%.*s",
			        STR_FMT(config->backends[i].name.text), STR_FMT(address->text));
		}
}

void announce(const struct gateway *gateway)
{
	const struct snapshot *snapshot = gateway->snapshot;
	const struct config *config = snapshot->config;
	struct str audit = output_words(&config->audit), access = output_words(&config->access_log);
	struct str admin = config->admin.kind == ADDRESS_NONE ? STR("off") : config->admin.text;
	for (size_t i = 0; i < config->listener_count; i++) {
		announce_listener(&config->listeners[i]);
		announce_tls(snapshot->listeners[i].label, snapshot->listeners[i].tls);
	}
	if (snapshot->admin_tls)
		announce_tls("admin", snapshot->admin_tls);
	for (size_t i = 0; i < config->backend_count; i++)
		if (snapshot->backends[i].tls)
			announce_tls(snapshot->backends[i].tls_label, snapshot->backends[i].tls);
	announce_doubts(config);
	announce_unknown(config);
	log_event(LOG_INFO, "recording", "audit=\"%.*s\" when_it_fails=%s access_log=\"%.*s\"",
	        STR_FMT(audit), config->audit_on_failure == AUDIT_REFUSE ? "refuse" : "continue",
	        STR_FMT(access));
	log_event(LOG_INFO, "ready",
	        "version=%s workers=%zu backends=%zu admin=%.*s sandbox=\"%s\" uid=%u",
	        version_text(), gateway->worker_count, config->backend_count, STR_FMT(admin),
	        sandbox_words(), (unsigned)geteuid());
}

static void announce_doubt(const struct config_doubt *doubt, void *argument)
{
	size_t *told = argument;
	if ((*told)++ < PROBLEMS_MAX)
		log_event(LOG_WARN, "hardly meant so", "key=%.*s line=%d doubt=\"%s\"",
		        STR_FMT(doubt->key), doubt->mark.line, doubt->words);
}

void announce_doubts(const struct config *config)
{
	size_t told = 0;
	config_doubts(config, announce_doubt, &told);
}

void announce_problems(const struct config_problems *problems)
{
	size_t shown = problems->count < PROBLEMS_MAX ? problems->count : PROBLEMS_MAX;
	for (size_t i = 0; i < shown; i++) {
		struct buffer text = {0};
		config_problem_write(problems, i, &text);
		log_event(LOG_ERROR, "problem in the configuration", "problem=\"%.*s\"",
		        STR_FMT(buffer_str(&text)));
		buffer_fini(&text);
	}
	if (problems->count + problems->dropped > shown)
		log_event(LOG_ERROR,
		        "more problems in the configuration, `tollgate check` names them",
		        "count=%zu", problems->count + problems->dropped - shown);
}

void announce_no_start(const struct config_problems *problems)
{
	if (log_is_json())
		announce_problems(problems);
	else
		config_problems_print(problems, STDERR_FILENO);
}

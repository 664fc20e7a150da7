#include "gateway/admission.h"

#include <stdlib.h>

#include "base/clock.h"
#include "gateway/attempt.h"
#include "gateway/exchange.h"
#include "gateway/http/grpc.h"

enum { COMING_MS = 1000 };

struct admission {
	struct list node;  // in worker->admissions, or in none once it is retired
	struct grave grave;
	struct worker *worker;
	const char *label;  // the backend's name, held
	struct concurrency concurrency;
	struct list
	        coming;  // places whose request is not whole and which still count, oldest first
	size_t places;   // that point here
	unsigned limit_told;  // to the metrics
};

static void tell_limit(struct admission *admission, unsigned limit)
{
	if (limit == admission->limit_told)
		return;
	admission->limit_told = limit;
	metrics_concurrency_limit(admission->worker->metrics, admission->label, limit);
}

static void free_admission(struct admission *admission)
{
	metrics_label_release(admission->label);
	free(admission);
}

static void bury(struct grave *grave)
{
	free_admission(CONTAINER_OF(grave, struct admission, grave));
}

static struct admission *find(const struct worker *worker, const char *label)
{
	LIST_EACH (&worker->admissions, node) {
		struct admission *admission = LIST_ITEM(node, struct admission, node);
		if (admission->label == label)
			return admission;
	}
	return NULL;
}

static void open_admission(struct worker *worker, const struct config_backend *backend)
{
	struct admission *admission = must_alloc(sizeof(*admission));
	admission->worker = worker;
	admission->label = metrics_label(backend->name.text);
	concurrency_init(&admission->concurrency, &backend->concurrency, worker->peers,
	        clock_monotonic_ns());
	list_init(&admission->coming);
	list_push(&worker->admissions, &admission->node);
	tell_limit(admission, concurrency_ceiling(&admission->concurrency, PRIORITY_NORMAL));
	metrics_concurrency_active(worker->metrics, admission->label, 0);
	for (int priority = 0; priority < CONFIG_PRIORITIES; priority++)
		metrics_shed(worker->metrics, admission->label, (enum config_priority)priority, 0);
}

// Those who have a place keep it to its end.
static void retire(struct admission *admission)
{
	tell_limit(admission, 0);
	list_remove(&admission->node);
	if (!admission->places)
		free_admission(admission);
}

static bool still_wanted(const struct admission *admission, const struct snapshot *snapshot)
{
	const struct config_concurrency *now = &admission->concurrency.config;
	for (size_t i = 0; i < snapshot->config->backend_count; i++) {
		const struct config_concurrency *next = &snapshot->config->backends[i].concurrency;
		if (snapshot->backends[i].label == admission->label)
			return next->mark.line && next->limit == now->limit &&
			       next->min == now->min && next->max == now->max &&
			       next->tolerance_percent == now->tolerance_percent;
	}
	return false;
}

void admissions_use(struct worker *worker, const struct snapshot *snapshot)
{
	LIST_EACH (&worker->admissions, node) {
		struct admission *admission = LIST_ITEM(node, struct admission, node);
		if (!still_wanted(admission, snapshot))
			retire(admission);
	}
	for (size_t i = 0; i < snapshot->config->backend_count; i++)
		if (snapshot->config->backends[i].concurrency.mark.line &&
		        !find(worker, snapshot->backends[i].label))
			open_admission(worker, &snapshot->config->backends[i]);
}

void admissions_free(struct worker *worker)
{
	struct list *node;
	while ((node = list_pop(&worker->admissions)))
		free_admission(LIST_ITEM(node, struct admission, node));
}

// NULL: no limit; also of a backend that only an older configuration has.
static struct admission *admission_of(const struct exchange *exchange, size_t backend)
{
	const struct snapshot *snapshot = exchange->snapshot;
	if (!snapshot->config->backends[backend].concurrency.mark.line)
		return NULL;
	return find(exchange->downstream->worker, snapshot->backends[backend].label);
}

static struct concurrency *concurrency_of(const struct exchange *exchange)
{
	return &exchange->place.admission->concurrency;
}

static void enter(struct exchange *exchange)
{
	struct admission *admission = exchange->place.admission;
	concurrency_enter(&admission->concurrency);
	metrics_concurrency_active(admission->worker->metrics, admission->label, 1);
	exchange->place.counts = true;
}

static void leave(struct place *place)
{
	list_remove(&place->coming);
	if (!place->counts)
		return;
	place->counts = false;
	concurrency_leave(&place->admission->concurrency);
	metrics_concurrency_active(place->admission->worker->metrics, place->admission->label, -1);
}

static void give_up_slow_ones(struct admission *admission, int64_t now_ns)
{
	while (!list_empty(&admission->coming)) {
		struct place *place = LIST_ITEM(admission->coming.next, struct place, coming);
		if (now_ns - place->since_ns < (int64_t)COMING_MS * NS_PER_MS)
			return;
		leave(place);
	}
}

static bool may_be_called(const struct exchange *exchange)
{
	const struct config_route *route = exchange_route(exchange);
	struct admission *admission = admission_of(exchange, exchange->backend_index);
	if (!admission)
		return true;
	int64_t now_ns = clock_monotonic_ns();
	give_up_slow_ones(admission, now_ns);
	bool room = concurrency_room(&admission->concurrency, route->priority, now_ns);
	tell_limit(admission, (unsigned)admission->concurrency.limit);
	return room;
}

enum policy_crowd admission_room(struct exchange *exchange)
{
	const struct worker *worker = exchange->downstream->worker;
	if (exchange_route(exchange)->backend < 0)
		return POLICY_UNCROWDED;
	// Of a configuration that was replaced the queue is asked for when it comes to that.
	if (exchange->snapshot == worker->snapshot &&
	        attempt_would_be_refused(exchange, worker->pools_in_force[exchange->backend_index]))
		return POLICY_QUEUED;
	return may_be_called(exchange) ? POLICY_UNCROWDED : POLICY_CALLS;
}

static void begin(struct exchange *exchange, int64_t now_ns)
{
	exchange->place.since_ns = now_ns;
	exchange->place.ticket = concurrency_begin(concurrency_of(exchange), now_ns);
}

void admission_enter(struct exchange *exchange)
{
	struct admission *admission = admission_of(exchange, exchange->backend_index);
	if (!admission)
		return;
	admission->places++;
	exchange->place = (struct place){
	        .admission = admission, .since_ns = exchange->time.forwarded_ns};
	enter(exchange);
	// What came of a body may be held back, still.
	bool held = exchange->decision.flow_count && exchange->up.total_in;
	if (exchange->request_whole && !held)
		begin(exchange, exchange->time.forwarded_ns);
	else
		list_push(&admission->coming, &exchange->place.coming);
}

void admission_whole(struct exchange *exchange)
{
	struct place *place = &exchange->place;
	if (!place->admission || place->ticket)
		return;
	list_remove(&place->coming);
	if (!place->counts)
		enter(exchange);
	begin(exchange, clock_monotonic_ns());
}

void admission_leave(struct exchange *exchange, enum concurrency_end end)
{
	struct place *place = &exchange->place;
	struct admission *admission = place->admission;
	if (!admission)
		return;
	int64_t now_ns = clock_monotonic_ns(), tried_ns = exchange->time.tried_ns;
	// That a backend is not there shows before the request is whole.
	if (!place->ticket && end == CONCURRENCY_UNAVAILABLE)
		begin(exchange, now_ns);
	leave(place);
	if (place->ticket) {
		int64_t since_ns = place->since_ns > tried_ns ? place->since_ns : tried_ns;
		concurrency_end(
		        &admission->concurrency, place->ticket, end, now_ns - since_ns, now_ns);
	}
	place->admission = NULL;
	admission->places--;
	if (list_linked(&admission->node)) {
		tell_limit(admission, (unsigned)admission->concurrency.limit);
	} else if (!admission->places) {
		admission->grave.bury = bury;
		turn_mark_dead(&admission->worker->turn, &admission->grave);
	}
}

void admission_answered(struct exchange *exchange)
{
	enum { SERVICE_UNAVAILABLE = 503, BAD_REQUEST = 400 };
	enum concurrency_end end = CONCURRENCY_ANSWERED;
	if (exchange->status == SERVICE_UNAVAILABLE || exchange->grpc_status == GRPC_UNAVAILABLE)
		end = CONCURRENCY_UNAVAILABLE;
	else if (exchange->status >= BAD_REQUEST || exchange->grpc_status > 0)
		end = CONCURRENCY_FRUITLESS;
	admission_leave(exchange, end);
}

void admission_failed(struct exchange *exchange, const char *cause)
{
	static const struct {
		const char *cause;
		enum concurrency_end end;
	} known[] = {
	        {"connect_failed", CONCURRENCY_UNAVAILABLE},
	        {"connect_timeout", CONCURRENCY_UNAVAILABLE},
	        {"backend_tls_failed", CONCURRENCY_UNAVAILABLE},
	        {"backend_refused", CONCURRENCY_UNAVAILABLE},
	        {"deadline_exceeded", CONCURRENCY_FRUITLESS},
	        {"per_try_timeout", CONCURRENCY_FRUITLESS},
	        {"backend_stalled", CONCURRENCY_FRUITLESS},
	};
	enum concurrency_end end = CONCURRENCY_SILENT;
	for (size_t i = 0; exchange->place.admission && i < ARRAY_LEN(known); i++)
		if (strcmp(cause, known[i].cause) == 0)
			end = known[i].end;
	admission_leave(exchange, end);
}

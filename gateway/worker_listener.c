#include "gateway/worker_listener.h"

#include <stdlib.h>

#include "gateway/downstream.h"

static void on_knock(struct door *door, int descriptor)
{
	downstream_accept(door->owner, descriptor);
}

static void on_door_closed(struct door *door)
{
	struct worker_listener *listener = door->owner;
	listener->doors_open--;
}

static void open_doors(struct worker_listener *listener)
{
	struct worker *worker = listener->worker;
	size_t share = listening_share(listener->listening, worker->index, worker->peers);
	listener->doors = must_alloc(share * sizeof(*listener->doors));
	for (size_t i = 0; i < share; i++) {
		int socket = listening_take(listener->listening, worker->index, worker->peers, i);
		if (socket < 0)
			continue;
		struct door *door = &listener->doors[listener->door_count++];
		door->owner = listener;
		door->knock = on_knock;
		door->closed = on_door_closed;
		listener->doors_open++;
		door_open(door, &worker->turn, socket);
	}
}

// A configuration may give another name to what goes on as it was.
static void name(struct worker_listener *listener)
{
	struct worker *worker = listener->worker;
	struct str text = worker->snapshot->config->listeners[listener->index].name.text;
	const char *former = listener->label;
	int open = (int)listener->downstream_count;
	listener->label = metrics_label(text);
	bool renamed = former && former != listener->label;
	if (renamed && open)
		metrics_connections(worker->metrics, former, -open);
	// Told before anybody came: what is missing is no 0 to whoever watches it.
	metrics_connections(worker->metrics, listener->label, renamed ? open : 0);
	metrics_label_release(former);
}

static void add(struct worker *worker, struct listening *listening, size_t index)
{
	struct worker_listener *listener = must_alloc(sizeof(*listener));
	listener->worker = worker;
	listener->listening = listening_ref(listening);
	listener->index = index;
	name(listener);
	list_push(&worker->listeners, &listener->node);
	open_doors(listener);
}

static void free_listener(struct worker_listener *listener)
{
	list_remove(&listener->node);
	listening_unref(listener->listening);
	metrics_label_release(listener->label);
	free(listener->doors);
	free(listener);
}

// Whoever is in the queue was told by the kernel that the connection stands.
static void shut_doors(struct worker_listener *listener)
{
	for (size_t i = 0; i < listener->door_count; i++) {
		door_take_waiting(&listener->doors[i]);
		door_shut(&listener->doors[i]);
	}
}

void worker_listeners_leave(struct worker *worker, const struct snapshot *next)
{
	LIST_EACH (&worker->listeners, node) {
		struct worker_listener *listener = LIST_ITEM(node, struct worker_listener, node);
		if (!listener->removed && !snapshot_listens(next, listener->listening)) {
			shut_doors(listener);
			listener->removed = true;
		} else {
			worker_listener_settle(listener);
		}
	}
}

void worker_listener_settle(struct worker_listener *listener)
{
	struct worker *worker = listener->worker;
	if (!listener->removed || listener->doors_open || listener->downstream_count)
		return;
	free_listener(listener);
	metrics_prune(worker->metrics);
}

static struct worker_listener *find(struct worker *worker, const struct listening *listening)
{
	LIST_EACH (&worker->listeners, node) {
		struct worker_listener *listener = LIST_ITEM(node, struct worker_listener, node);
		if (listener->listening == listening)
			return listener;
	}
	return NULL;
}

void worker_listeners_join(struct worker *worker)
{
	const struct snapshot *snapshot = worker->snapshot;
	for (size_t i = 0; i < snapshot->config->listener_count; i++) {
		struct listening *listening = snapshot->listeners[i].listening;
		struct worker_listener *listener = find(worker, listening);
		if (listener) {
			listener->index = i;
			name(listener);
		} else if (!worker->draining) {
			add(worker, listening, i);
		}
	}
}

void worker_listeners_shut(struct worker *worker)
{
	LIST_EACH (&worker->listeners, node)
		shut_doors(LIST_ITEM(node, struct worker_listener, node));
}

void worker_listeners_free(struct worker *worker)
{
	LIST_EACH (&worker->listeners, node)
		free_listener(LIST_ITEM(node, struct worker_listener, node));
}

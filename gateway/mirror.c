#include "gateway/mirror.h"

#include "base/clock.h"
#include "base/spare.h"
#include "gateway/upstream.h"

struct mirror {
	struct grave grave;
	struct worker *worker;
	struct snapshot *snapshot;
	size_t backend;
	struct arena arena;     // of the copied head
	struct stream *stream;  // NULL before it is sent and once cut
	struct body body;
	struct timer deadline;
	bool on_way, over;
};

static void bury(struct grave *grave)
{
	struct mirror *mirror = CONTAINER_OF(grave, struct mirror, grave);
	if (mirror->stream)
		upstream_release(mirror->stream);
	snapshot_unref(mirror->snapshot);
	buffer_fini(&mirror->body.bytes);
	arena_fini(&mirror->arena);
	spare_free(mirror);
}

static void end(struct mirror *mirror, const char *result)
{
	struct worker *worker = mirror->worker;
	if (mirror->over)
		return;
	mirror->over = true;
	worker->mirror_count -= mirror->on_way;
	metrics_mirrored(
	        worker->metrics, mirror->snapshot->backends[mirror->backend].label, result);
	turn_stop_timer(&worker->turn, &mirror->deadline);
	mirror->grave.bury = bury;
	turn_mark_dead(&worker->turn, &mirror->grave);
}

static void on_deadline(struct timer *timer)
{
	end(CONTAINER_OF(timer, struct mirror, deadline), "failed");
}

static bool drawn(struct worker *worker, double share)
{
	// The 53 bits that a double holds.
	return (double)(worker_random(worker) >> 11) * 0x1p-53 < share;
}

void mirror_draw(struct exchange *exchange, bool whole)
{
	const struct config_mirror *config = &exchange_route(exchange)->mirror;
	struct worker *worker = exchange->downstream->worker;
	if (exchange->tunnel || exchange->state == EXCHANGE_OVER || !drawn(worker, config->share))
		return;
	struct mirror *mirror = must_spare(sizeof(*mirror));
	mirror->worker = worker;
	mirror->snapshot = snapshot_ref(exchange->snapshot);
	mirror->backend = (size_t)config->backend;
	timer_init(&mirror->deadline, on_deadline);
	exchange->mirror = mirror;
	if (whole)
		mirror_whole(exchange);
}

void mirror_gather(struct exchange *exchange, struct str bytes)
{
	struct mirror *mirror = exchange->mirror;
	if (buffer_len(&mirror->body.bytes) + bytes.len > MIRROR_BODY_MAX)
		mirror_give_up(exchange);
	else
		body_add(&mirror->body, bytes);
}

void mirror_give_up(struct exchange *exchange)
{
	struct mirror *mirror = exchange->mirror;
	exchange->mirror = NULL;
	end(mirror, "dropped");
}

static void copy_fields(struct fields *to, const struct fields *from, struct arena *arena)
{
	for (size_t i = 0; i < from->count; i++)
		fields_add(to, arena, arena_str(arena, from->items[i].name),
		        arena_str(arena, from->items[i].value));
}

static struct head copy_head(const struct head *head, struct arena *arena)
{
	struct head copy = *head;
	copy.method = arena_str(arena, head->method);
	copy.authority = arena_str(arena, head->authority);
	copy.target = arena_str(arena, head->target);
	copy.fields = (struct fields){0};
	copy_fields(&copy.fields, &head->fields, arena);
	return copy;
}

void mirror_whole(struct exchange *exchange)
{
	struct mirror *mirror = exchange->mirror;
	struct worker *worker = mirror->worker;
	if (exchange->refused || worker->mirror_count >= MIRROR_ON_WAY_MAX ||
	        memory_level(worker->memory) != MEMORY_ROOM) {
		mirror_give_up(exchange);
		return;
	}
	exchange->mirror = NULL;
	bool full;
	mirror->stream = upstream_open_mirror(worker, mirror->snapshot, mirror->backend, &full);
	if (!mirror->stream) {
		end(mirror, full ? "dropped" : "failed");
		return;
	}
	struct head head = copy_head(&exchange->request, &mirror->arena);
	copy_fields(&mirror->body.trailers, &exchange->up.trailers, &mirror->arena);
	mirror->body.ended = true;
	mirror->on_way = true;
	worker->mirror_count++;
	turn_set_timer(&worker->turn, &mirror->deadline, (int64_t)MIRROR_DEADLINE_MS * NS_PER_MS);
	mirror->stream->user = mirror;
	mirror->stream->source = &mirror->body;
	stream_send_head(
	        mirror->stream, &head, body_done(&mirror->body) && !mirror->body.trailers.count);
}

void mirror_backend_head(struct stream *stream, bool ends)
{
	if (ends)
		end(stream->user, "answered");
}

void mirror_backend_data(struct stream *stream, struct str bytes)
{
	stream_credit(stream, bytes.len);
}

void mirror_backend_end(struct stream *stream, const struct fields *trailers)
{
	(void)trailers;
	end(stream->user, "answered");
}

void mirror_backend_aborted(struct stream *stream, enum stream_abort why)
{
	struct mirror *mirror = stream->user;
	(void)why;
	mirror->stream = NULL;
	upstream_release(stream);
	end(mirror, "failed");
}

void mirror_backend_sent(struct stream *stream)
{
	(void)stream;
}

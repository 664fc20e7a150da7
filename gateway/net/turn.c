#include "gateway/net/turn.h"

#include <stdlib.h>

#include "base/clock.h"

static void flush_all(struct list *list)
{
	for (struct list *node; (node = list_pop(list));) {
		struct dirty *dirty = LIST_ITEM(node, struct dirty, node);
		dirty->flush(dirty);
	}
}

void turn_flush(struct turn *turn)
{
	flush_all(&turn->dirty);
}

static void bury_dead(struct turn *turn)
{
	for (struct list *node; (node = list_pop(&turn->graves));) {
		struct grave *grave = LIST_ITEM(node, struct grave, node);
		grave->bury(grave);
	}
}

void turn_wake(struct turn *turn)
{
	turn->now_ns = clock_monotonic_ns();
	if (!turn->woke_ns)
		turn->woke_ns = turn->now_ns;
}

static void on_alarm(uv_timer_t *timer)
{
	struct turn *turn = timer->data;
	turn->alarm_ns = 0;
	turn_wake(turn);
	wheel_turn(&turn->wheel, turn->now_ns);
}

static void set_alarm(struct turn *turn)
{
	int64_t wait_ns = wheel_wait(&turn->wheel, turn->now_ns);
	if (wait_ns < 0) {
		uv_timer_stop(&turn->alarm);  // after turn_close it alone would keep the loop awake
		turn->alarm_ns = 0;
		return;
	}
	int64_t due_ns = turn->now_ns + wait_ns;
	if (turn->alarm_ns && turn->alarm_ns <= due_ns)
		return;  // rings early enough; it looks again then
	turn->alarm_ns = due_ns;
	uv_timer_start(
	        &turn->alarm, on_alarm, (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS), 0);
}

// As many as take half of a turn, where the others made the last one long: with thousands of those,
// a few a turn would be so few a second that nobody new came in.
static void call_waiting(struct turn *turn, int64_t worked_ns)
{
	int64_t most = worked_ns / (2 * TURN_HANDSHAKE_US * (int64_t)NS_PER_US);
	if (most < TURN_HANDSHAKES)
		most = TURN_HANDSHAKES;
	for (struct list *node; turn->handshakes < most && (node = list_pop(&turn->queue));) {
		struct dirty *step = LIST_ITEM(node, struct dirty, node);
		step->flush(step);
	}
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct turn *turn = prepare->data;
	turn->now_ns = clock_monotonic_ns();
	bury_dead(turn);
	flush_all(&turn->dirty);
	flush_all(&turn->last);
	bury_dead(turn);
	set_alarm(turn);
	int64_t worked_ns = turn->woke_ns ? clock_monotonic_ns() - turn->woke_ns : 0;
	if (turn->worked && turn->woke_ns)
		turn->worked(turn, worked_ns);
	turn->woke_ns = 0;
	turn->large = turn->handshakes = 0;
	call_waiting(turn, worked_ns);
}

void turn_init(struct turn *turn)
{
	*turn = (struct turn){0};
	CHECK(uv_loop_init(&turn->loop) == 0);
	CHECK(uv_prepare_init(&turn->loop, &turn->prepare) == 0);
	CHECK(uv_timer_init(&turn->loop, &turn->alarm) == 0);
	turn->prepare.data = turn->alarm.data = turn->loop.data = turn;
	turn->now_ns = clock_monotonic_ns();
	wheel_init(&turn->wheel, turn->now_ns);
	list_init(&turn->dirty);
	list_init(&turn->last);
	list_init(&turn->graves);
	list_init(&turn->queue);
	uv_prepare_start(&turn->prepare, on_prepare);
}

void turn_run(struct turn *turn)
{
	do {
		uv_run(&turn->loop, UV_RUN_DEFAULT);
		bury_dead(turn);
		set_alarm(turn);
	} while (uv_loop_alive(&turn->loop));
}

void turn_close(struct turn *turn)
{
	// Not the alarm: a link that waits for nothing but its deadline is open, yet inactive to
	// libuv.
	uv_unref((uv_handle_t *)&turn->prepare);
}

static void close_own(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void turn_fini(struct turn *turn)
{
	close_own((uv_handle_t *)&turn->prepare);
	close_own((uv_handle_t *)&turn->alarm);
	uv_run(&turn->loop, UV_RUN_DEFAULT);
	bury_dead(turn);
	CHECK(uv_loop_close(&turn->loop) == 0);
	buffer_fini(&turn->read);
	buffer_fini(&turn->plain);
}

char *turn_room(struct turn *turn)
{
	buffer_clear(&turn->read);
	return buffer_room(&turn->read, TURN_READ_SIZE);
}

struct str turn_has_read(struct turn *turn, size_t count)
{
	buffer_added(&turn->read, count);
	return buffer_str(&turn->read);
}

void turn_pass_on(struct turn *turn, struct str bytes, struct buffer *to)
{
	struct buffer *read = &turn->read;
	bool rest = read->block && bytes.at + bytes.len == read->block + read->end;
	if (!rest || bytes.len < TURN_READ_MUCH || buffer_len(to)) {
		buffer_append_str(to, bytes);
		return;
	}
	buffer_fini(to);
	*to = *read;
	to->start = to->end - bytes.len;
	*read = (struct buffer){0};
}

void turn_mark_dirty(struct turn *turn, struct dirty *dirty)
{
	if (!list_linked(&dirty->node))
		list_push(&turn->dirty, &dirty->node);
}

void turn_mark_last(struct turn *turn, struct dirty *dirty)
{
	if (!list_linked(&dirty->node))
		list_push(&turn->last, &dirty->node);
}

void turn_queue(struct turn *turn, struct dirty *step)
{
	if (!list_linked(&step->node))
		list_push(&turn->queue, &step->node);
}

void turn_mark_dead(struct turn *turn, struct grave *grave)
{
	list_push(&turn->graves, &grave->node);
}

void turn_set_timer(struct turn *turn, struct timer *timer, int64_t after_ns)
{
	// Outside of an event now_ns may be minutes old, and the deadline would have passed.
	if (!turn->woke_ns)
		turn->now_ns = clock_monotonic_ns();
	timer_set(&turn->wheel, timer, turn->now_ns + after_ns);
}

void turn_stop_timer(struct turn *turn, struct timer *timer)
{
	timer_stop(&turn->wheel, timer);
}

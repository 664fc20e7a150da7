#include "gateway/http/h2_early.h"

#include "gateway/http/h2.h"

// Other PINGs of ours, for a shutdown, carry zeros (h2_shutdown).
static const uint8_t mark[8] = {'a', 'n', 's', 'w', 'e', 'r', 'e', 'd'};

void h2_early_init(struct h2_early *early)
{
	list_init(&early->answered);
	list_init(&early->asked);
}

void h2_early_stop(struct h2 *h2, struct h2_stream *own)
{
	if (h2->early.count == H2_EARLY_MAX) {
		h2_reset_with(own, NGHTTP2_NO_ERROR);
		return;
	}
	h2->early.count++;
	list_push(&h2->early.answered, &own->early_node);
}

void h2_early_forget(struct h2 *h2, struct h2_stream *own)
{
	if (!list_linked(&own->early_node))
		return;
	h2->early.count--;
	list_remove(&own->early_node);
}

bool h2_early_ask(struct h2 *h2)
{
	struct h2_early *early = &h2->early;
	if (list_empty(&early->answered) || !list_empty(&early->asked))
		return false;
	list_splice(&early->asked, &early->answered);
	return nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, mark) == 0;
}

bool h2_early_acked(struct h2 *h2, const uint8_t opaque[8])
{
	if (memcmp(opaque, mark, sizeof(mark)) != 0)
		return false;
	for (struct list *node; (node = list_pop(&h2->early.asked));) {
		h2->early.count--;
		h2_reset_with(LIST_ITEM(node, struct h2_stream, early_node), NGHTTP2_NO_ERROR);
	}
	return true;
}

// An intrusive doubly-linked ring: the head is a node, membership is state. The owner of the outer
// struct owns the memory. A node is on one list or on none (zeroed or self-linked); list_remove of
// a node on none is a no-op.
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct list {
	struct list *next, *previous;
};

static inline void list_init(struct list *node)
{
	node->next = node->previous = node;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head || head->next == NULL;
}

static inline bool list_linked(const struct list *node)
{
	return node->next != NULL && node->next != node;
}

static inline void list_remove(struct list *node)
{
	if (!list_linked(node))
		return;
	node->previous->next = node->next;
	node->next->previous = node->previous;
	list_init(node);
}

static inline void list_push(struct list *head, struct list *node)  // at the end
{
	CHECK(!list_linked(node) && head->next != NULL);
	node->previous = head->previous;
	node->next = head;
	head->previous->next = node;
	head->previous = node;
}

static inline struct list *list_pop(struct list *head)  // from the front; NULL when empty
{
	struct list *node = head->next;
	if (list_empty(head))
		return NULL;
	list_remove(node);
	return node;
}

// All of `from` goes to the end of `to`, in its order.
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->previous = to->previous;
	from->previous->next = to;
	to->previous->next = from->next;
	to->previous = from->previous;
	list_init(from);
}

#define LIST_ITEM(node, type, member) CONTAINER_OF(node, type, member)

// The body may remove `node` itself, nothing else.
#define LIST_EACH(head, node)                                                                      \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);          \
	        node = node##_next, node##_next = node->next)

#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/list.h"

struct card {
	struct list node;
	int number;
};

static int order(struct list *head)  // the numbers as digits, front first
{
	int digits = 0;
	LIST_EACH (head, node)
		digits = digits * 10 + LIST_ITEM(node, struct card, node)->number;
	return digits;
}

static void push_is_at_the_end_pop_at_the_front(void **state)
{
	(void)state;
	struct list head;
	struct card cards[] = {{.number = 1}, {.number = 2}, {.number = 3}};
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_pop(&head));
	for (size_t i = 0; i < 3; i++)
		list_push(&head, &cards[i].node);
	assert_int_equal(order(&head), 123);
	assert_ptr_equal(list_pop(&head), &cards[0].node);
	assert_int_equal(order(&head), 23);
	list_push(&head, &cards[0].node);
	assert_int_equal(order(&head), 231);
}

static void membership_is_state(void **state)
{
	(void)state;
	struct list head, never = {0};
	struct card card = {.number = 7};
	list_init(&head);
	assert_false(list_linked(&card.node));
	list_remove(&card.node);  // on no list, zeroed
	list_push(&head, &card.node);
	assert_true(list_linked(&card.node));
	assert_false(list_empty(&head));
	list_remove(&card.node);
	list_remove(&card.node);  // on no list, self-linked
	assert_false(list_linked(&card.node));
	assert_true(list_empty(&head));
	assert_true(list_empty(&never));
	assert_null(list_pop(&never));
}

static void each_may_remove_the_node_it_stands_on(void **state)
{
	(void)state;
	struct list head;
	struct card cards[6] = {0};
	list_init(&head);
	for (int i = 0; i < 6; i++) {
		cards[i].number = i + 1;
		list_push(&head, &cards[i].node);
	}
	LIST_EACH (&head, node)
		if (LIST_ITEM(node, struct card, node)->number % 2)
			list_remove(node);
	assert_int_equal(order(&head), 246);
	LIST_EACH (&head, node)
		list_remove(node);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(push_is_at_the_end_pop_at_the_front),
	        cmocka_unit_test(membership_is_state),
	        cmocka_unit_test(each_may_remove_the_node_it_stands_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

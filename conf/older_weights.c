// `weights: [3, 1]` beside `endpoints: [a, b]` becomes `endpoints: [{address: a, weight: 3}, b]`.
#include <inttypes.h>

#include "conf/older.h"
#include "conf/snip.h"
#include "conf/value.h"

// It may stand plain in a line of its own, and not between braces.
static bool needs_quotes(const struct tree *address)
{
	return address->plain && strpbrk(address->text.at, ",[]{}?");
}

static void open_braces(struct older *older, const struct tree *endpoint, bool in_brackets)
{
	char first = older->edits->text.at[endpoint->at];
	struct buffer words = {0};
	size_t end = endpoint->at;
	if (first == '|' || first == '>')
		older_refuse(older, endpoint->mark, "this address is written as a block of text");
	buffer_append_str(&words, endpoint->kind == TREE_MAP ? STR("{") : STR("{address: "));
	if (!in_brackets && needs_quotes(endpoint)) {
		value_write_text(endpoint->text, &words);
		end = endpoint->end;
	}
	edits_add(older->edits, endpoint->at, end, buffer_str(&words));
	buffer_fini(&words);
}

static void put_in_braces(
        struct older *older, const struct tree *endpoint, bool in_brackets, uint64_t weight)
{
	bool braced = older->edits->text.at[endpoint->at] == '{';
	size_t end = endpoint->kind == TREE_MAP ? endpoint->first->end : endpoint->end;
	struct buffer words = {0};
	if (!braced)
		open_braces(older, endpoint, in_brackets);
	buffer_printf(&words, ", weight: %" PRIu64 "%s", weight, braced ? "" : "}");
	edits_add(older->edits, end, end, buffer_str(&words));
	buffer_fini(&words);
}

static void put_below(struct older *older, const struct tree *endpoint, uint64_t weight)
{
	struct str text = older->edits->text;
	size_t first = snip_line_end(text, 0), end = snip_line_end(text, endpoint->first->end);
	struct buffer words = {0};
	buffer_append(&words, text.at + first, snip_next_line(text, 0) - first);
	buffer_printf(&words, "%*sweight: %" PRIu64, endpoint->mark.column - 1, "", weight);
	edits_add(older->edits, end, end, buffer_str(&words));
	buffer_fini(&words);
}

static void rewrite(struct older *older, const struct tree *backend, const struct tree *weights)
{
	struct str text = older->edits->text;
	const struct tree *endpoints = tree_get(backend, "endpoints");
	const struct tree *weight = weights->first;
	bool in_brackets = text.at[endpoints->at] == '[';
	for (const struct tree *endpoint = endpoints->first; endpoint;
	        endpoint = endpoint->next, weight = weight->next) {
		uint64_t number;
		CHECK(value_count(weight->text, &number));
		bool in_lines = endpoint->kind == TREE_MAP && !in_brackets &&
		                text.at[endpoint->at] != '{';
		if (number == 1)  // what it is without the key
			continue;
		if (in_lines)
			put_below(older, endpoint, number);
		else
			put_in_braces(older, endpoint, in_brackets, number);
	}
	snip_member(older->edits, backend, weights);
}

void older_weights(struct older *older, const struct tree *root)
{
	const struct tree *backends = tree_get(root, "backends");
	size_t index = 0;
	for (const struct tree *backend = backends ? backends->first : NULL; backend;
	        backend = backend->next, index++) {
		const struct tree *weights = tree_get(backend, "weights");
		if (!weights)
			continue;
		struct str key = arena_printf(&older->arena, "backends[%zu].weights", index);
		older_begin(older, weights->mark, key, "endpoints[].weight");
		rewrite(older, backend, weights);
	}
}

// Words of configurations as labels, each once: equal words are one pointer.
#include <pthread.h>
#include <stdlib.h>

#include "gateway/metrics.h"
#include "gateway/metrics_series.h"

enum { WORD_CHAINS = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct word *words[WORD_CHAINS];

// At the end of the process, so that whatever is left then is a leak.
__attribute__((destructor)) static void forget_words(void)
{
	for (size_t i = 0; i < WORD_CHAINS; i++)
		while (words[i]) {
			struct word *word = words[i];
			words[i] = word->next;
			free(word);
		}
}

// Where the pointer to the word stands, or would.
static struct word **place_of(struct str text)
{
	struct word **place = &words[str_hash(text, 0) % WORD_CHAINS];
	while (*place && !str_eq(str_from((*place)->text), text))
		place = &(*place)->next;
	return place;
}

static void free_if_unused(struct word **place)
{
	struct word *word = *place;
	if (word->holders || word->series)
		return;
	*place = word->next;
	free(word);
}

const char *metrics_label(struct str text)
{
	pthread_mutex_lock(&lock);
	struct word **place = place_of(text), *word = *place;
	if (!word) {
		*place = word = must_alloc(sizeof(*word) + text.len + 1);
		if (text.len)
			memcpy(word->text, text.at, text.len);
	}
	word->holders++;
	pthread_mutex_unlock(&lock);
	return word->text;
}

void metrics_label_release(const char *label)
{
	if (!label)
		return;
	pthread_mutex_lock(&lock);
	struct word **place = place_of(str_from(label));
	CHECK(*place && (*place)->text == label && (*place)->holders);
	(*place)->holders--;
	free_if_unused(place);
	pthread_mutex_unlock(&lock);
}

struct word *metrics_word_take(const char *label)
{
	struct word *word = NULL;
	if (!label)
		return NULL;
	pthread_mutex_lock(&lock);
	struct word *found = *place_of(str_from(label));
	if (found && found->text == label)
		word = found;
	if (word)
		word->series++;
	pthread_mutex_unlock(&lock);
	return word;
}

void metrics_word_drop(struct word *word)
{
	if (!word)
		return;
	pthread_mutex_lock(&lock);
	word->series--;
	free_if_unused(place_of(str_from(word->text)));
	pthread_mutex_unlock(&lock);
}

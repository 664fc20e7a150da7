#include "base/log_fold.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

#define WINDOW_NS ((int64_t)LOG_FOLD_WINDOW_S * NS_PER_S)

struct entry {
	char *text;  // NULL: free
	size_t len;
	uint64_t hash;
	int64_t began_ns;
	uint64_t left;    // may be written in this window
	uint64_t folded;  // in this window
};

struct budget {
	bool begun;
	uint64_t spent;  // lines not given back by time yet
	int64_t paid_ns;
	uint64_t left_out;
	int64_t left_out_ns;  // since when
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry entries[LOG_FOLD_TEXTS];
static struct budget budgets[LOG_LEVELS];

static void forget(struct entry *entry)
{
	free(entry->text);
	*entry = (struct entry){0};
}

// A window that has passed. One that folded nothing ends the watch.
static bool over(const struct entry *entry, int64_t now_ns)
{
	return entry->text && now_ns - entry->began_ns >= WINDOW_NS;
}

static struct entry *find(struct str text, uint64_t hash)
{
	for (size_t i = 0; i < LOG_FOLD_TEXTS; i++)
		if (entries[i].text && entries[i].hash == hash &&
		        str_eq(str_of(entries[i].text, entries[i].len), text))
			return &entries[i];
	return NULL;
}

// NULL when all are at work: then only the budget holds.
static struct entry *watch(struct str text, uint64_t hash, int64_t now_ns)
{
	for (size_t i = 0; i < LOG_FOLD_TEXTS; i++) {
		struct entry *entry = &entries[i];
		if (over(entry, now_ns) && entry->folded == 0)
			forget(entry);
		if (entry->text)
			continue;
		*entry = (struct entry){.text = must_copy(text.at, text.len),
		        .len = text.len,
		        .hash = hash,
		        .began_ns = now_ns,
		        .left = LOG_FOLD_AFTER};
		return entry;
	}
	return NULL;
}

static bool spend(struct budget *budget, int64_t now_ns)
{
	if (!budget->begun) {
		budget->begun = true;
		budget->paid_ns = now_ns;
	}
	// The clock was read before the lock was had: another thread may have paid later.
	int64_t seconds = now_ns > budget->paid_ns ? (now_ns - budget->paid_ns) / NS_PER_S : 0;
	uint64_t earned = (uint64_t)seconds * LOG_FOLD_PER_S;
	budget->paid_ns += seconds * NS_PER_S;
	budget->spent -= earned < budget->spent ? earned : budget->spent;
	if (budget->spent < LOG_FOLD_BURST) {
		budget->spent++;
		return true;
	}
	if (budget->left_out++ == 0)
		budget->left_out_ns = now_ns;
	return false;
}

bool log_fold_admits(enum log_level level, struct str text, int64_t now_ns)
{
	uint64_t hash = str_hash(text, 0);
	bool admitted;
	pthread_mutex_lock(&lock);
	struct entry *entry = find(text, hash);
	if (entry && over(entry, now_ns) && entry->folded == 0) {
		forget(entry);
		entry = NULL;
	}
	if (!entry)
		entry = watch(text, hash, now_ns);
	if (entry && entry->left == 0) {
		entry->folded++;
		admitted = false;
	} else {
		if (entry)
			entry->left--;
		admitted = spend(&budgets[level], now_ns);
	}
	pthread_mutex_unlock(&lock);
	return admitted;
}

static bool take_entry(bool all, int64_t now_ns, struct buffer *text, uint64_t *repeated)
{
	for (size_t i = 0; i < LOG_FOLD_TEXTS; i++) {
		struct entry *entry = &entries[i];
		if (!entry->folded || !(all || over(entry, now_ns)))
			continue;
		buffer_append(text, entry->text, entry->len);
		*repeated = entry->folded;
		// Who goes on is told again at the end of the next window, and not before.
		entry->folded = 0;
		entry->left = 0;
		entry->began_ns = now_ns;
		return true;
	}
	return false;
}

static bool take_budget(bool all, int64_t now_ns, uint64_t *repeated, enum log_level *level)
{
	for (size_t i = 0; i < LOG_LEVELS; i++) {
		struct budget *budget = &budgets[i];
		if (!budget->left_out || !(all || now_ns - budget->left_out_ns >= WINDOW_NS))
			continue;
		*repeated = budget->left_out;
		*level = (enum log_level)i;
		budget->left_out = 0;
		return true;
	}
	return false;
}

static bool take(
        bool all, int64_t now_ns, struct buffer *text, uint64_t *repeated, enum log_level *level)
{
	buffer_clear(text);
	pthread_mutex_lock(&lock);
	bool found = take_entry(all, now_ns, text, repeated) ||
	             take_budget(all, now_ns, repeated, level);
	pthread_mutex_unlock(&lock);
	return found;
}

bool log_fold_due(int64_t now_ns, struct buffer *text, uint64_t *repeated, enum log_level *level)
{
	return take(false, now_ns, text, repeated, level);
}

bool log_fold_rest(struct buffer *text, uint64_t *repeated, enum log_level *level)
{
	return take(true, clock_monotonic_ns(), text, repeated, level);
}

void log_fold_forget(void)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < LOG_FOLD_TEXTS; i++)
		forget(&entries[i]);
	memset(budgets, 0, sizeof(budgets));
	pthread_mutex_unlock(&lock);
}

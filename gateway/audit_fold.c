#include "gateway/audit_fold.h"

#include "base/reserve.h"

struct audit_folds *audit_folds_new(uint64_t seed)
{
	struct audit_folds *folds = must_reserve(sizeof(*folds));
	folds->seed = seed;
	return folds;
}

void audit_folds_free(struct audit_folds *folds)
{
	if (!folds)
		return;
	buffer_fini(&folds->bytes);
	reserve_free(folds, sizeof(*folds));
}

void audit_folds_clear(struct audit_folds *folds)
{
	memset(folds->callers, 0, folds->caller_count * sizeof(folds->callers[0]));
	memset(folds->slots, 0, sizeof(folds->slots));
	memset(folds->verdicts, 0, sizeof(folds->verdicts));
	buffer_clear(&folds->bytes);
	folds->caller_count = 0;
	folds->seen = folds->folded = 0;
}

struct str audit_folds_text(const struct audit_folds *folds, struct audit_text text)
{
	return str_of(buffer_data(&folds->bytes) + text.at, text.len);
}

static struct audit_text keep(struct audit_folds *folds, struct str text)
{
	struct audit_text kept = {buffer_len(&folds->bytes), text.len};
	buffer_append_str(&folds->bytes, text);
	return kept;
}

// The slot that holds the key, or the free one where it belongs. Half the slots are always free.
static uint16_t *slot_of(struct audit_folds *folds, struct str key, uint64_t hash)
{
	for (size_t at = hash;; at++) {
		uint16_t *slot = &folds->slots[at % ARRAY_LEN(folds->slots)];
		if (*slot == 0)
			return slot;
		const struct audit_fold *fold = &folds->callers[*slot - 1];
		if (fold->hash == hash && str_eq(audit_folds_text(folds, fold->key), key))
			return slot;
	}
}

static struct audit_fold *find_or_make(struct audit_folds *folds, struct str key)
{
	uint64_t hash = str_hash(key, folds->seed);
	uint16_t *slot = slot_of(folds, key, hash);
	if (*slot)
		return &folds->callers[*slot - 1];
	if (folds->caller_count == AUDIT_FOLD_CALLERS ||
	        buffer_len(&folds->bytes) + key.len > AUDIT_FOLD_BYTES)
		return NULL;
	struct audit_fold *fold = &folds->callers[folds->caller_count++];
	*fold = (struct audit_fold){.hash = hash, .key = keep(folds, key)};
	*slot = (uint16_t)folds->caller_count;
	return fold;
}

struct audit_fold *audit_folds_see(
        struct audit_folds *folds, struct str key, size_t verdict, int64_t now_ns)
{
	if (folds->seen++ == 0)
		folds->since_ns = now_ns;
	struct audit_fold *fold = find_or_make(folds, key);
	if (!fold)
		fold = &folds->verdicts[verdict];
	fold->seen++;
	return fold;
}

bool audit_folds_is_verdict(const struct audit_folds *folds, const struct audit_fold *fold)
{
	return fold >= folds->verdicts && fold < folds->verdicts + AUDIT_VERDICTS;
}

bool audit_folds_keep_body(struct audit_folds *folds, struct audit_fold *fold, struct str body)
{
	if (!audit_folds_is_verdict(folds, fold) &&
	        buffer_len(&folds->bytes) + body.len > AUDIT_FOLD_BYTES)
		return false;
	fold->body = keep(folds, body);
	return true;
}

void audit_folds_count(struct audit_folds *folds, struct audit_fold *fold, int64_t wall_ns)
{
	CHECK(fold->body.len);
	if (fold->count++ == 0)
		fold->first_ns = wall_ns;
	fold->last_ns = wall_ns;
	folds->folded++;
}

const struct audit_fold *audit_folds_at(const struct audit_folds *folds, size_t index)
{
	if (index < folds->caller_count)
		return &folds->callers[index];
	index -= folds->caller_count;
	return index < AUDIT_VERDICTS ? &folds->verdicts[index] : NULL;
}

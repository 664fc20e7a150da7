// What the fuzz targets share: one entry point each, and an input read as a row of choices. A
// target judges by CHECK, which stays on and aborts; libFuzzer keeps the input. Nothing is random
// but the input, so that a finding can be played again. Single thread.
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/check.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

// Choices are taken from the front; when none are left all is 0. A byte counts from '0', so that a
// seed can be written in an editor.
struct dice {
	struct str left;
};

static inline unsigned dice(struct dice *dice, unsigned sides)
{
	if (!dice->left.len)
		return 0;
	unsigned byte = (unsigned char)(*dice->left.at - '0');
	dice->left = str_skip(dice->left, 1);
	return byte % sides;
}

static inline struct str dice_bytes(struct dice *dice, size_t most)
{
	struct str bytes = str_of(dice->left.at, dice->left.len < most ? dice->left.len : most);
	dice->left = str_skip(dice->left, bytes.len);
	return bytes;
}

static inline struct str dice_rest(struct dice *dice)
{
	return dice_bytes(dice, dice->left.len);
}

// The front of the input up to a line end; the rest stays.
static inline struct str dice_line(struct dice *dice)
{
	const char *end = str_find_byte(dice->left, '\n');
	struct str line = dice_bytes(dice, end ? (size_t)(end - dice->left.at) : dice->left.len);
	dice_bytes(dice, 1);
	return line;
}

static inline struct dice dice_of(const uint8_t *data, size_t size)
{
	return (struct dice){str_of((const char *)data, size)};
}

// A block of its own, exactly as long: a byte too many read is seen.
static inline struct str own_copy(struct str text)
{
	char *copy = malloc(text.len ? text.len : 1);
	CHECK(copy);
	if (text.len)
		memcpy(copy, text.at, text.len);
	return str_of(copy, text.len);
}

static inline void own_free(struct str text)
{
	free((char *)(uintptr_t)text.at);
}

static inline bool has_control_bytes(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
			return true;
	return false;
}

#endif

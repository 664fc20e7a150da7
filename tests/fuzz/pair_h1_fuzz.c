// HTTP/1.1 in, HTTP/1.1 out: no bytes of a client make a backend see another request than the one
// that was judged, and none of a backend make the client see another answer.
//   choices \n bytes of the client \n~~\n first backend \n~~\n second backend ...
#include "tests/fuzz/pair_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size), choices = {dice_line(&all)};
	struct str left = dice_rest(&all), bytes = next_flight(&left);
	struct pump pump;
	bool eager = dice(&choices, 2), bytewise = dice(&choices, 2), ends = dice(&choices, 2);
	pump_open(&pump, H1, &limits_table[dice(&choices, ARRAY_LEN(limits_table))]);
	pump.allows_websocket = dice(&choices, 2);
	pump.answers = left;
	while (bytes.len) {
		size_t piece = bytewise ? 1 : bytes.len;
		pump_feed(&pump, str_of(bytes.at, piece), eager);
		bytes = str_skip(bytes, piece);
	}
	if (ends)
		pump.front->ops->feed_end(pump.front);
	pump_turn(&pump, true);
	pump_close(&pump);
	return 0;
}

package script

import (
	"fmt"
	"math/big"
	"math/rand"
	"os"
	"strconv"
	"testing"
)

// The script as it is, on a clock that the test moves, with keys that stay: how long each was to last is kept beside it.
// The clock is the last argument.
const onMyClock = `
local server = redis
local redis = {call = function(name, key, value, px, lasts)
	if name == 'TIME' then
		return {string.sub(ARGV[#ARGV], 1, -7), string.sub(ARGV[#ARGV], -6)}
	end
	if name == 'SET' then
		assert(px == 'PX')
		server.call('SET', 'lasts:' .. key, lasts)
		return server.call('SET', key, value)
	end
	return server.call(name, key)
end}
`

func scriptText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../gateway/limit_script.lua")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type numbers struct{ count, period, burst int64 } // count tokens in so many microseconds

// bucket is the model: what is owed, in units of which a token costs `period` and `count` fall due each microsecond. After
// a change of numbers the script may be short of what is due by a unit; never the other way round.
type bucket struct {
	numbers
	owed  [2]*big.Int // at least, at most
	at    int64
	known bool
}

func big64(value int64) *big.Int { return big.NewInt(value) }

func (b numbers) depth() *big.Int { return new(big.Int).Mul(big64(b.burst), big64(b.period)) }

func clamp(value, most *big.Int) *big.Int {
	if value.Sign() < 0 {
		return new(big.Int)
	}
	if value.Cmp(most) > 0 {
		return new(big.Int).Set(most)
	}
	return value
}

func (b *bucket) owes(now int64, wanted numbers) [2]*big.Int {
	if !b.known {
		return [2]*big.Int{new(big.Int), new(big.Int)}
	}
	var owed [2]*big.Int
	for i := range owed {
		fallen := new(big.Int).Mul(big64(now-b.at), big64(b.count))
		owed[i] = clamp(new(big.Int).Sub(b.owed[i], fallen), b.depth())
		if b.numbers == wanted {
			continue
		}
		left := new(big.Int).Sub(b.depth(), owed[i])
		left.Mul(left, big64(wanted.period)).Div(left, big64(b.period))
		owed[i] = clamp(new(big.Int).Sub(wanted.depth(), left), wanted.depth())
		if i == 1 {
			owed[i] = clamp(owed[i].Add(owed[i], big64(1)), wanted.depth())
		}
	}
	return owed
}

func (b numbers) free(owed *big.Int) int64 {
	left := new(big.Int).Sub(b.depth(), owed)
	return left.Div(left, big64(b.period)).Int64()
}

// claim asks one bucket for what a call costs, and for more if it is there: `wanted`. Of a shadow, which wants none, the
// cost is taken if it is there and nothing if it is not.
type claim struct {
	numbers
	key          string
	cost, wanted int64
}

func (c claim) wait(owed *big.Int) int64 {
	short := new(big.Int).Add(owed, new(big.Int).Mul(big64(c.cost), big64(c.period)))
	short.Sub(short, c.depth())
	if short.Sign() <= 0 {
		return 0
	}
	short.Add(short, big64(c.count-1))
	return short.Div(short, big64(c.count)).Int64()
}

func (c claim) share(free int64) int64 {
	if free < c.cost {
		return 0
	}
	return min(max(c.wanted, c.cost), free)
}

type world struct {
	*testing.T
	server  *server
	text    string
	buckets map[string]*bucket
	now     int64
	granted int
	refused int
}

func newWorld(t *testing.T) *world {
	return &world{T: t, server: start(t), text: onMyClock + scriptText(t), buckets: map[string]*bucket{}, now: 1_700_000_000_000_000}
}

func (w *world) command(claims []claim) []string {
	words := []string{"EVAL", w.text, strconv.Itoa(len(claims))}
	for _, c := range claims {
		words = append(words, c.key)
	}
	for _, c := range claims {
		for _, number := range []int64{c.count, c.period, c.burst, c.cost, c.wanted} {
			words = append(words, strconv.FormatInt(number, 10))
		}
	}
	return append(words, strconv.FormatInt(w.now, 10))
}

// call asks Redis and the model, and compares.
func (w *world) call(claims ...claim) []int64 {
	w.Helper()
	answer := w.server.numbers(w.command(claims)...)
	owed := make([][2]*big.Int, len(claims))
	refuses, mayRefuse, longest := false, false, int64(0)
	for i, c := range claims {
		if w.buckets[c.key] == nil {
			w.buckets[c.key] = &bucket{}
		}
		owed[i] = w.buckets[c.key].owes(w.now, c.numbers)
		if c.wanted == 0 {
			continue // stops nothing
		}
		refuses = refuses || c.free(owed[i][0]) < c.cost
		mayRefuse = mayRefuse || c.free(owed[i][1]) < c.cost
		longest = max(longest, c.wait(owed[i][0]))
	}
	said := fmt.Sprintf("%v at %d: %v", claims, w.now, answer)
	if answer[0] == 0 {
		w.refused++
		if !mayRefuse {
			w.Fatalf("%s, but each has the tokens", said)
		}
		late := claims[answer[1]-1].wait(owed[answer[1]-1][1])
		if len(answer) != 3 || answer[2] < 1 || answer[2] < longest || answer[2] > late {
			w.Fatalf("%s, but the wait is %d to %d", said, longest, late)
		}
		return answer
	}
	w.granted++
	if refuses || len(answer) != 1+3*len(claims) {
		w.Fatalf("%s, but not each has the tokens", said)
	}
	for i, c := range claims {
		w.pay(c, owed[i], answer[1+3*i:], said)
	}
	return answer
}

func (w *world) pay(c claim, owed [2]*big.Int, answer []int64, said string) {
	w.Helper()
	given := answer[0]
	if least, most := c.share(c.free(owed[1])), c.share(c.free(owed[0])); given < least || given > most {
		w.Fatalf("%s, but %s has %d to %d", said, c.key, least, most)
	}
	if given < c.cost && (c.wanted > 0 || given > 0) {
		w.Fatalf("%s, but a call of %d is not paid by %d", said, c.cost, given)
	}
	for i := range owed {
		owed[i].Add(owed[i], new(big.Int).Mul(big64(given), big64(c.period)))
	}
	if left := answer[1]; left < c.free(owed[1]) || left > c.free(owed[0]) {
		w.Fatalf("%s, but %d of %s are left", said, c.free(owed[0]), c.key)
	}
	early, late := new(big.Int).Div(owed[0], big64(c.count)), new(big.Int).Div(owed[1], big64(c.count))
	if answer[2] < early.Int64() || answer[2] > late.Int64()+1 {
		w.Fatalf("%s, but %s is full in %d µs", said, c.key, early)
	}
	*w.buckets[c.key] = bucket{c.numbers, owed, w.now, true}
	// The key lasts until nothing is owed, or the bucket would be full too early; and not for long after that.
	lasts := w.server.number("GET", "lasts:"+c.key)
	full := early.Int64()
	if lasts*1000 <= full || lasts*1000 > full+2000 {
		w.Fatalf("%s, and %s lasts %d ms, full in %d µs", said, c.key, lasts, full)
	}
}

func pick[T any](random *rand.Rand, of []T) T { return of[random.Intn(len(of))] }

// As `check` lets them pass: exact below 2^53, full within a year.
func anyNumbers(random *rand.Rand) numbers {
	for {
		n := numbers{
			count:  pick(random, []int64{1, 2, 3, 5, 7, 100, 300, 999, 10_000, 999_983, 1_000_000_000}),
			period: pick(random, []int64{1_000_000, 60_000_000, 3_600_000_000}),
			burst:  pick(random, []int64{1, 1, 2, 3, 7, 100, 65_537, 1_000_000, 2_501_999, 1_000_000_000}),
		}
		depth := n.depth()
		year := new(big.Int).Mul(big64(365*24*3600*1_000_000), big64(n.count))
		if depth.Cmp(big64(1<<53)) <= 0 && depth.Cmp(year) <= 0 {
			return n
		}
	}
}

// A step of time that matters to such a bucket: none, up to a token's worth to the microsecond, or much.
func (w *world) pass(random *rand.Rand, n numbers) {
	token := n.period/n.count + 1
	switch random.Intn(4) {
	case 0:
	case 1:
		w.now += random.Int63n(3) + token - 2
	case 2:
		w.now += random.Int63n(token * 2)
	default:
		w.now += random.Int63n(token * (min(n.burst, 50) + 2))
	}
}

func (w *world) both() {
	w.Helper()
	if w.granted < 500 || w.refused < 500 {
		w.Errorf("%d granted and %d refused say little", w.granted, w.refused)
	}
}

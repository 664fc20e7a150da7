// Package script has a real Redis run gateway/limit_script.lua and holds every answer against a model in whole numbers of any
// size: not one token more, and not one fewer.
package script

import (
	"fmt"
	"math/big"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
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

func (b numbers) wait(owed *big.Int) int64 {
	short := new(big.Int).Add(owed, big64(b.period))
	short.Sub(short, b.depth())
	if short.Sign() <= 0 {
		return 0
	}
	short.Add(short, big64(b.count-1))
	return short.Div(short, big64(b.count)).Int64()
}

type claim struct {
	numbers
	key    string
	wanted int64
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
		for _, number := range []int64{c.count, c.period, c.burst, c.wanted} {
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
		refuses = refuses || c.free(owed[i][0]) < 1
		mayRefuse = mayRefuse || c.free(owed[i][1]) < 1
		longest = max(longest, c.wait(owed[i][0]))
	}
	said := fmt.Sprintf("%v at %d: %v", claims, w.now, answer)
	if answer[0] == 0 {
		w.refused++
		if !mayRefuse {
			w.Fatalf("%s, but each has a token", said)
		}
		late := claims[answer[1]-1].wait(owed[answer[1]-1][1])
		if len(answer) != 3 || answer[2] < 1 || answer[2] < longest || answer[2] > late {
			w.Fatalf("%s, but the wait is %d to %d", said, longest, late)
		}
		return answer
	}
	w.granted++
	if refuses || len(answer) != 1+3*len(claims) {
		w.Fatalf("%s, but not each has a token", said)
	}
	for i, c := range claims {
		w.pay(c, owed[i], answer[1+3*i:], said)
	}
	return answer
}

func (w *world) pay(c claim, owed [2]*big.Int, answer []int64, said string) {
	w.Helper()
	wanted, given := max(c.wanted, 1), answer[0]
	if least, most := min(wanted, c.free(owed[1])), min(wanted, c.free(owed[0])); given < least || given > most {
		w.Fatalf("%s, but %s has %d to %d", said, c.key, least, most)
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

func TestEveryTokenIsTheModels(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(1))
	for round := range 120 {
		c := claim{anyNumbers(random), fmt.Sprintf("one-%d", round), 1}
		for range 60 {
			c.wanted = pick(random, []int64{1, 1, 2, 5, min(c.burst, 1_000_000), max(c.burst-1, 1)})
			w.call(c)
			w.pass(random, c.numbers)
		}
	}
	w.both()
}

func TestAllBucketsOfACallGiveOrNone(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(2))
	for round := range 60 {
		claims := make([]claim, 2+random.Intn(15))
		for i := range claims {
			claims[i] = claim{anyNumbers(random), fmt.Sprintf("some-%d-%d", round, i), 1}
			claims[i].burst = min(claims[i].burst, int64(3+random.Intn(10)))
		}
		for range 40 {
			chosen := slices.Clone(claims[random.Intn(len(claims)):])
			for i := range chosen {
				chosen[i].wanted = pick(random, []int64{0, 1, 1, 1, 2}) // 0: a token that may be refused
			}
			w.call(chosen...)
			w.pass(random, pick(random, chosen).numbers)
		}
	}
	w.both()
}

func TestOtherNumbersKeepTheTokensAndMakeNone(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(3))
	for round := range 300 {
		c := claim{anyNumbers(random), fmt.Sprintf("changing-%d", round), 1}
		for range 25 {
			if random.Intn(4) == 0 {
				c.numbers = anyNumbers(random)
			}
			c.wanted = pick(random, []int64{1, 2, max(c.burst/2, 1), c.burst})
			w.call(c)
			w.pass(random, c.numbers)
		}
	}
	w.both()
}

// owe has a bucket owe so much, to Redis and to the model.
func (w *world) owe(c claim, units int64) {
	w.buckets[c.key] = &bucket{c.numbers, [2]*big.Int{big64(units), big64(units)}, w.now, true}
	w.server.ask("SET", c.key, fmt.Sprintf("%d %d %d %d %d", w.now+units/c.count, units%c.count, c.count, c.period, c.burst))
}

// At the edge of what a double counts: burst * period of 2^53, to the last unit. The waits that a rounded sum would shorten
// are those of a unit more than so many microseconds bring.
func TestTheLargestBucketIsCountedToTheUnit(t *testing.T) {
	w := newWorld(t)
	for i, n := range []numbers{
		{999_999_999, 1 << 33, 1 << 20},
		{286, 3_600_000_000, 2_501_999},
		{287, 1 << 33, 1 << 20},
		{1_000_003, 1 << 52, 2},
		{1_000_003, 1 << 53, 1},
		{999_983, (1 << 53) / 3, 3},
	} {
		random := rand.New(rand.NewSource(int64(i)))
		c := claim{n, fmt.Sprintf("deep-%d", i), n.burst}
		w.call(c)
		for range 300 {
			c.wanted = pick(random, []int64{1, n.burst})
			w.call(c)
			w.pass(random, n)
			short := min(random.Int63n(n.period/n.count)*n.count+random.Int63n(3), n.period)
			short = pick(random, []int64{short, short, 0, 1, -short})
			w.owe(c, max((n.burst-1)*n.period+short, 0))
			w.call(c)
		}
	}
	w.both()
}

func TestAClockThatIsSetBackOrForthGrantsNoMore(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(4))
	for round := range 60 {
		c := claim{anyNumbers(random), fmt.Sprintf("clock-%d", round), 1}
		c.burst = min(c.burst, 20)
		for range 50 {
			c.wanted = pick(random, []int64{1, c.burst})
			w.call(c)
			w.pass(random, c.numbers)
			if random.Intn(5) == 0 {
				w.now += pick(random, []int64{-1, 1}) * random.Int63n(int64(1)<<uint(10+random.Intn(30)))
			}
		}
	}
	w.both()
}

// Whatever stands there: from a time to come all is owed and no more, so it waits as an empty one does; what is no bucket
// at all counts as none.
func TestWhatStandsInAKeyIsTakenForNoMoreThanItIs(t *testing.T) {
	w := newWorld(t)
	n := numbers{5, 1_000_000, 10}
	for value, answer := range map[string][]int64{
		fmt.Sprintf("%d 0 5 1000000 10", w.now+1<<50):        {0, 1, 200_000},
		"99999999999999999999 0 5 1000000 10":                {0, 1, 200_000},
		strings.Repeat("9", 400) + " 0 5 1000000 10":         {0, 1, 200_000},
		fmt.Sprintf("%d 0 5 1000000 10", w.now-1):            {1, 10},
		fmt.Sprintf("%d 999999 1000000 1000000 10", w.now+1): {1, 8},
		"":                          {1, 10},
		"1 2 3":                     {1, 10},
		"-1 0 5 1000000 10":         {1, 10},
		"a b c d e":                 {1, 10},
		"1 0 5 1000000 10 and more": {1, 10},
	} {
		w.server.ask("SET", "key", value)
		if said := w.server.numbers(w.command([]claim{{n, "key", 10}})...); !slices.Equal(said[:len(answer)], answer) {
			t.Errorf("%.60q answers %v, not %v", value, said, answer)
		}
	}
}

// The script itself, by the server's clock: what is granted between two looks at that clock is what the time allows, and
// the key ends when the bucket is full.
func TestTheServersOwnClockRefills(t *testing.T) {
	s := start(t)
	text := scriptText(t)
	ask := func() []int64 { return s.numbers("EVAL", text, "1", "key", "1000", "1000000", "5", "1") }
	begin := s.clock()
	granted := int64(0)
	for s.clock()-begin < 300_000 || granted < 5 {
		if ask()[0] == 1 {
			granted++
		}
	}
	passed := (s.clock() - begin) / 1000
	if granted > 5+passed+1 {
		t.Errorf("%d granted in %d ms", granted, passed)
	}
	if lasts := s.number("PTTL", "key"); lasts > 7 {
		t.Errorf("the key lasts %d ms, and the bucket is full in 5", lasts)
	}
	end := s.clock() + 10_000_000
	for s.number("EXISTS", "key") != 0 {
		if s.clock() > end {
			t.Fatal("the key stays")
		}
	}
	if said := ask(); said[0] != 1 {
		t.Errorf("a full bucket answers %v", said)
	}
}

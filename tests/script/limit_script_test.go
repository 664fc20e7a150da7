// Package script has a real Redis run gateway/limit_script.lua and holds every answer against a model in whole numbers of any
// size: not one token more, and not one fewer.
package script

import (
	"fmt"
	"math/big"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

func TestEveryTokenIsTheModels(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(1))
	for round := range 120 {
		c := claim{anyNumbers(random), fmt.Sprintf("one-%d", round), 1, 1}
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
			claims[i] = claim{anyNumbers(random), fmt.Sprintf("some-%d-%d", round, i), 1, 1}
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
		c := claim{anyNumbers(random), fmt.Sprintf("changing-%d", round), 1, 1}
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
		c := claim{n, fmt.Sprintf("deep-%d", i), 1, n.burst}
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
		c := claim{anyNumbers(random), fmt.Sprintf("clock-%d", round), 1, 1}
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
		if said := w.server.numbers(w.command([]claim{{n, "key", 1, 10}})...); !slices.Equal(said[:len(answer)], answer) {
			t.Errorf("%.60q answers %v, not %v", value, said, answer)
		}
	}
}

// The script itself, by the server's clock: what is granted between two looks at that clock is what the time allows, and
// the key ends when the bucket is full.
func TestTheServersOwnClockRefills(t *testing.T) {
	s := start(t)
	text := scriptText(t)
	ask := func() []int64 { return s.numbers("EVAL", text, "1", "key", "1000", "1000000", "5", "1", "1") }
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

package script

import (
	"fmt"
	"math/big"
	"math/rand"
	"slices"
	"testing"
)

// Calls that cost more than a token: all of it or nothing, whatever else is asked for.

// anyCost is from one to the burst: often little, often all, anything between.
func anyCost(random *rand.Rand, burst int64) int64 {
	return min(burst, pick(random, []int64{1, 2, 1 + random.Int63n(10), 1 + random.Int63n(burst), 1 + random.Int63n(burst), max(burst-1, 1), burst}))
}

// wait moves on after an answer: after a refusal often until just before the call passes, or until just then.
func (w *world) wait(random *rand.Rand, answer []int64, n numbers) {
	if answer[0] == 0 && random.Intn(2) == 0 {
		w.now += answer[2] - int64(random.Intn(2))
		return
	}
	w.pass(random, n)
}

func TestACallIsGivenWhatItCostsOrNothing(t *testing.T) {
	for what, wanted := range map[string]func(*rand.Rand, claim) int64{
		"just that": func(_ *rand.Rand, c claim) int64 { return c.cost },
		"a lease besides, as far as there is one": func(random *rand.Rand, c claim) int64 {
			return c.cost + random.Int63n(2*c.burst)
		},
		"no less, though less is wanted": func(random *rand.Rand, c claim) int64 { return 1 + random.Int63n(c.cost) },
		"a shadow, which nothing stops":  func(*rand.Rand, claim) int64 { return 0 },
		"now this, now that": func(random *rand.Rand, c claim) int64 {
			return pick(random, []int64{0, 1, c.cost, c.cost + 1, c.burst, 1_000_000})
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			random := rand.New(rand.NewSource(5))
			withheld := 0
			for round := range 80 {
				c := claim{anyNumbers(random), fmt.Sprintf("cost-%d", round), 1, 1}
				for range 50 {
					c.cost = anyCost(random, c.burst)
					c.wanted = wanted(random, c)
					answer := w.call(c)
					if answer[0] == 1 && answer[1] == 0 {
						withheld++
					}
					w.wait(random, answer, c.numbers)
				}
			}
			if w.granted < 500 || w.refused+withheld < 500 {
				t.Errorf("%d granted, %d of them nothing, and %d refused say little", w.granted, withheld, w.refused)
			}
		})
	}
}

// One that costs much and one that costs little beside each other, leases and shadows among them.
func TestAllBucketsOfACallGiveItsCostsOrNone(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(6))
	for round := range 60 {
		claims := make([]claim, 2+random.Intn(15))
		for i := range claims {
			claims[i] = claim{anyNumbers(random), fmt.Sprintf("costs-%d-%d", round, i), 1, 1}
			claims[i].burst = min(claims[i].burst, int64(3+random.Intn(100)))
		}
		for range 40 {
			chosen := slices.Clone(claims[random.Intn(len(claims)):])
			for i := range chosen {
				c := &chosen[i]
				c.cost = anyCost(random, max(c.burst/int64(1+random.Intn(8)), 1))
				c.wanted = pick(random, []int64{0, c.cost, c.cost, c.cost + 2, c.burst})
			}
			w.wait(random, w.call(chosen...), pick(random, chosen).numbers)
		}
	}
	w.both()
}

func TestOtherNumbersAndOtherCostsKeepTheTokensAndMakeNone(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewSource(7))
	for round := range 200 {
		c := claim{anyNumbers(random), fmt.Sprintf("changing-%d", round), 1, 1}
		for range 25 {
			if random.Intn(4) == 0 {
				c.numbers = anyNumbers(random)
			}
			c.cost = anyCost(random, c.burst)
			c.wanted = pick(random, []int64{0, c.cost, c.cost, c.burst})
			w.wait(random, w.call(c), c.numbers)
		}
	}
	w.both()
}

// Where all is owed, and all is asked for, sums come closest to what a double counts.
func TestTheLargestCostOfTheLargestBucketIsWaitedForToTheUnit(t *testing.T) {
	w := newWorld(t)
	for i, n := range []numbers{
		{999_999_999, 60_000_000, 150_119_987}, // the last that `check` lets pass
		{999_999_999, 1 << 33, 1 << 20},
		{286, 3_600_000_000, 2_501_999},
		{1_000_003, 1 << 52, 2},
		{999_983, (1 << 53) / 3, 3},
	} {
		random := rand.New(rand.NewSource(int64(i)))
		c := claim{n, fmt.Sprintf("deep-%d", i), n.burst, n.burst}
		depth := n.depth().Int64()
		for range 300 {
			c.cost = pick(random, []int64{n.burst, n.burst, n.burst - 1, 1 + random.Int63n(n.burst)})
			c.wanted = pick(random, []int64{0, c.cost, n.burst})
			// A unit more than so many microseconds bring, or just that: within the last of them, or anywhere.
			owed := depth - pick(random, []int64{0, random.Int63n(min(depth, 50*n.count)), random.Int63n(depth)})
			owed -= owed%n.count - pick(random, []int64{0, 1, 2})
			w.owe(c, max(min(owed, depth), 0))
			w.wait(random, w.call(c), numbers{n.count, max(n.period, n.count), n.burst})
		}
	}
	w.both()
}

// A bucket of ten that gets one a second.
func TestACallOfManyTokensStepByStep(t *testing.T) {
	w := newWorld(t)
	n := numbers{1, 1_000_000, 10}
	for _, step := range []struct {
		what         string
		cost, wanted int64
		seconds      int64 // that pass before
		answer       []int64
	}{
		{"four of ten", 4, 4, 0, []int64{1, 4, 6, 4_000_000}},
		{"seven of six", 7, 7, 0, []int64{0, 1, 1_000_000}},
		{"all of six", 10, 10, 0, []int64{0, 1, 4_000_000}},
		{"a trial of seven", 7, 0, 0, []int64{1, 0, 6, 4_000_000}},
		{"a trial of two", 2, 0, 0, []int64{1, 2, 4, 6_000_000}},
		{"three, and five would be kept: there are four", 3, 8, 0, []int64{1, 4, 0, 10_000_000}},
		{"two of none", 2, 8, 0, []int64{0, 1, 2_000_000}},
		{"two of one", 2, 8, 1, []int64{0, 1, 1_000_000}},
		{"two of two", 2, 8, 1, []int64{1, 2, 0, 10_000_000}},
		{"two of five, and one is kept", 2, 3, 5, []int64{1, 3, 2, 8_000_000}},
		{"less is wanted than it costs", 2, 1, 0, []int64{1, 2, 0, 10_000_000}},
		{"all, a second early", 10, 10, 9, []int64{0, 1, 1_000_000}},
		{"all of ten", 10, 10, 1, []int64{1, 10, 0, 10_000_000}},
	} {
		w.now += step.seconds * 1_000_000
		if answer := w.call(claim{n, "key", step.cost, step.wanted}); !slices.Equal(answer, step.answer) {
			t.Errorf("%s: %v, not %v", step.what, answer, step.answer)
		}
	}
}

// The longest wait is told, and nothing taken, where several refuse; shadows do not count among them.
func TestOfSeveralThatCannotPayTheLongestWaitIsTold(t *testing.T) {
	w := newWorld(t)
	quick, slow := numbers{1, 1_000_000, 10}, numbers{1, 60_000_000, 10}
	for _, c := range []claim{{quick, "quick", 10, 10}, {slow, "slow", 5, 5}, {slow, "shadow", 10, 10}} {
		w.call(c)
	}
	for _, row := range []struct {
		quick, slow int64
		answer      []int64
	}{
		{1, 6, []int64{0, 2, 60_000_000}},
		{10, 5, []int64{0, 1, 10_000_000}},
		{10, 6, []int64{0, 2, 60_000_000}},
	} {
		answer := w.call(claim{quick, "quick", row.quick, row.quick}, claim{slow, "slow", row.slow, row.slow}, claim{slow, "shadow", 9, 0})
		if !slices.Equal(answer, row.answer) {
			t.Errorf("%v: %v", row, answer)
		}
	}
	if left := w.buckets["slow"].owes(w.now, slow); left[0].Cmp(big.NewInt(5*60_000_000)) != 0 {
		t.Errorf("the slow one owes %v", left)
	}
}

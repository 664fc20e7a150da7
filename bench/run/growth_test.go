package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHowFarASeriesIsFromFlatIgnoresSizesThatLeftTheCoreIdle(t *testing.T) {
	for _, one := range []struct {
		name   string
		points []point
		want   float64
		known  bool
	}{
		{"nothing measured", nil, 0, false},
		{"one size", []point{{Figure: 20}}, 0, false},
		{"ten per cent either way", []point{{Figure: 18}, {Figure: 22}, {Figure: 20}}, 0.1, true},
		{"a lone connection waits", []point{{Figure: 90, Waited: true}, {Figure: 20}, {Figure: 20}}, 0, true},
		{"a size that failed", []point{{Failed: "no"}, {Figure: 20}, {Figure: 20}}, 0, true},
	} {
		if found, known := apart(one.points); math.Abs(found-one.want) > 1e-9 || known != one.known {
			t.Errorf("%s: %v (%v), not %v (%v)", one.name, found, known, one.want, one.known)
		}
	}
}

func TestAFailedRoundDoesNotSpoilTheMedianOfTheOthers(t *testing.T) {
	found := pointOf(64, []sample{{Figure: 30}, {Failed: "gone"}, {Figure: 10}, {Figure: 20}})
	if found.Figure != 20 || found.Low != 10 || found.High != 30 || found.Failed != "gone" {
		t.Errorf("%+v", found)
	}
}

func TestAPictureIsDrawnOfWhatWasMeasured(t *testing.T) {
	file := filepath.Join(t.TempDir(), "picture.svg")
	s := series{Name: "routes", Axis: "routes passed by", Unit: "µs/request", Sizes: []int{1, 10, 100},
		Marks: []point{{Size: 1, Figure: 20}, {Size: 10, Failed: "no"}, {Size: 100, Figure: 21}}}
	drawn := func() string {
		if err := s.plot(file); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "routes passed by") {
			t.Errorf("%v, %.200s", err, text)
		}
		return string(text)
	}
	if text := drawn(); strings.Contains(text, "another") {
		t.Errorf("%.200s", text)
	}
	s.Others = map[string][]point{"another": {{Size: 1, Figure: 30}, {Size: 10, Figure: 40}, {Size: 100, Failed: "no"}}}
	if text := drawn(); !strings.Contains(text, "another") {
		t.Errorf("%.200s", text)
	}
}

func TestATrialLeavesOutWhatTakesLong(t *testing.T) {
	if found := quickSizes([]int{1, 1000, 10000}); !slices.Equal(found, []int{1, 1000}) {
		t.Error(found)
	}
	if found := quickSizes([]int{1, 2}); !slices.Equal(found, []int{1, 2}) {
		t.Error(found)
	}
}

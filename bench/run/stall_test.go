package main

import "testing"

const scraped = `# HELP x_seconds of turns
x_seconds_bucket{le="0.001"} 10
x_seconds_bucket{le="0.01"} 12
x_seconds_bucket{le="0.1"} 12
x_seconds_bucket{le="+Inf"} 12
x_seconds_count 12
`

const scrapedLater = `x_seconds_bucket{le="0.001"} 110
x_seconds_bucket{le="0.01"} 115
x_seconds_bucket{le="0.1"} 116
x_seconds_bucket{le="+Inf"} 116
`

func TestTheLongestTurnBetweenTwoScrapesIsBoundedByItsBucket(t *testing.T) {
	before, after := readHistogram(scraped, "x_seconds"), readHistogram(scrapedLater, "x_seconds")
	turns, over, bound := after.since(before, "0.01")
	if turns != 104 || over != 1 || bound != "0.1" {
		t.Errorf("%v turns, %v over, below %v", turns, over, bound)
	}
	if turns, over, _ := after.since(after, "0.01"); turns != 0 || over != 0 {
		t.Errorf("nothing happened, yet %v and %v", turns, over)
	}
}

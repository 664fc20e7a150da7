package e2e

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// A refused caller of HTTP/2 is told why: every call that came at once, and before the connection's end.

// talk writes requests without bodies at once, and returns what is read, a word for each frame, until the end.
func (g *gateway) talk(t *testing.T, streams ...uint32) (heard []string) {
	t.Helper()
	config := g.trusting(nil, "h2")
	config.DynamicRecordSizingDisabled = true
	conn, err := g.dialTLS(t, config)
	if err != nil {
		t.Fatal(err)
	}
	var together bytes.Buffer // in one record: whoever comes behind the last answer is not served
	together.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&together, conn)
	_ = framer.WriteSettings()
	block := []byte{0x82, 0x87, 0x84, 0x01, 1, 'x'} // GET https / of x, short enough for one read of them all
	for _, id := range streams {
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: block})
	}
	_, _ = conn.Write(together.Bytes())
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return heard
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			if frame.StreamEnded() {
				heard = append(heard, fmt.Sprint("answer ", frame.StreamID))
			}
		case *http2.RSTStreamFrame:
			heard = append(heard, fmt.Sprint("reset ", frame.StreamID, " ", frame.ErrCode))
		case *http2.GoAwayFrame:
			heard = append(heard, fmt.Sprint("goaway ", frame.LastStreamID, " ", frame.ErrCode))
		}
	}
}

// Python's h2, and httpx over it, read nothing behind GOAWAY: it once came before the body of the only answer.
func TestRefusedCallersHearEveryAnswerBeforeGoaway(t *testing.T) {
	t.Parallel()
	for _, streams := range [][]uint32{{1}, {1, 3, 5, 7, 9}} {
		g := answering(t, setup{})
		heard := g.talk(t, streams...)
		want := make([]string, 0, len(streams)+1)
		for _, id := range streams {
			want = append(want, fmt.Sprint("answer ", id))
		}
		want = append(want, fmt.Sprint("goaway ", streams[len(streams)-1], " NO_ERROR"))
		if fmt.Sprint(heard) != fmt.Sprint(want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		g.countAudit(t, len(streams), func(r *auditRecord) bool { return r.Reason == "certificate_missing" && r.Answer.Status == 403 })
	}
}

func TestRefusedCallersAreAnsweredAHundredTimesAConnection(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{listener: []string{"limits: {concurrent_streams: 1000}"}})
	var streams []uint32
	for id := uint32(1); id < 400; id += 2 {
		streams = append(streams, id)
	}
	counts := map[string]int{}
	for _, what := range g.talk(t, streams...) {
		var word string
		_, _ = fmt.Sscan(what, &word)
		counts[word]++
	}
	if counts["answer"] != 100 || counts["reset"] != 100 || counts["goaway"] != 1 {
		t.Errorf("heard %v", counts)
	}
}

// One whose answer finds no window, and that its client gives up, is the last all the same: GOAWAY comes
// at once, before a PING that follows the answer to another is answered.
func TestAResetOfTheLastCallEndsARefusedConnection(t *testing.T) {
	t.Parallel()
	g := answering(t, setup{})
	conn, err := g.dialTLS(t, g.trusting(nil, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
		BlockFragment: fieldBlock(":method", "GET", ":scheme", "https", ":authority", "gateway.test", ":path", "/x")})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no answer, but %v", err)
		}
		if head, ok := frame.(*http2.HeadersFrame); ok && head.StreamID == 1 {
			break
		}
	}
	var both bytes.Buffer
	last := http2.NewFramer(&both, nil)
	_ = last.WriteRSTStream(1, http2.ErrCodeCancel)
	_ = last.WritePing(false, [8]byte{1})
	_, _ = conn.Write(both.Bytes())
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY, but %v", err)
		}
		if _, ok := frame.(*http2.GoAwayFrame); ok {
			return
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.Data[0] == 2 {
			t.Fatal("another PING was answered first")
		} else if ok && ping.IsAck() {
			_ = framer.WritePing(false, [8]byte{2})
		}
	}
}

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// What of a request's body the next attempt gets: all of it, or there is none.

const retryBuffer = 64 << 10

// uploads is a request whose body comes with a stated length or without.
func uploads(path string, body []byte, stated bool) *http.Request {
	r := must(http.NewRequest("POST", "https://gateway.test"+path, io.NopCloser(bytes.NewReader(body))))
	if r.ContentLength = -1; stated {
		r.ContentLength = int64(len(body))
	}
	return r
}

func TestBodiesThatFitAreRepeatedWhole(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := repeating(t, up, "{non_idempotent: true, backoff: 5ms}")
		c := g.client(t, down, common().web)
		for i, size := range []int{0, 1, 1000, retryBuffer - 1, retryBuffer} {
			for _, stated := range []bool{true, false} {
				for name, first := range map[string]act{"503 at once": answers(503), "503 after a byte": after(min(size, 1), answers(503)),
					"503 after all": after(size, answers(503)), "reset after half": after(size/2, resets)} {
					path := fmt.Sprintf("/%d/%v/%s", i, stated, name)
					tr.play(path, first)
					body := pattern(size)
					r := uploads("/", body, stated)
					r.URL.Path = path
					wantStatus(t, c.do(r), 200)
					if seen := tr.at(path); len(seen) != 2 || !seen[1].whole || !bytes.Equal(seen[1].body, body) {
						t.Errorf("%s: %d attempts, the last of %d of %d bytes", path, len(seen), len(seen[len(seen)-1].body), size)
					}
				}
			}
		}
	})
}

func TestBodiesThatDoNotFitAreNotRepeated(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := repeating(t, up, "{non_idempotent: true, backoff: 0s}")
		for i, size := range []int{retryBuffer + 1, 1 << 20} {
			for _, stated := range []bool{true, false} {
				path := fmt.Sprintf("/%d/%v", i, stated)
				tr.play(path, after(size, answers(503, "X-Passed", "on")))
				got := g.client(t, down, common().web).do(uploads(path, pattern(size), stated))
				wantStatus(t, got, 503)
				if n := len(tr.at(path)); n != 1 || got.header.Get("X-Passed") != "on" {
					t.Errorf("%s: %d attempts, %+v", path, n, got)
				}
			}
		}
	})
}

// A body that is still being sent.
type dripping struct {
	*io.PipeWriter
	answer chan reply
}

func (c *client) drips(r *http.Request) *dripping {
	reader, writer := io.Pipe()
	d := &dripping{writer, make(chan reply, 1)}
	r.Body = reader
	go func() { d.answer <- c.do(r) }()
	return d
}

func (tr *troupe) await(t *testing.T, path string, attempts int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d attempts at %s", attempts, path), patience, func() bool { return len(tr.at(path)) >= attempts })
}

func TestBodyStillOnItsWayIsRepeatedWholeWithItsTrailers(t *testing.T) {
	t.Parallel()
	everyProtocol(t, func(t *testing.T, down, up string) {
		g, tr := repeating(t, up, "{non_idempotent: true, backoff: 20ms, tries: 3}")
		c := g.client(t, down, common().web)
		for round := range 5 {
			path := fmt.Sprintf("/%d", round)
			tr.play(path, after(1, answers(503)), after(round*7, resets))
			r := uploads(path, nil, false)
			r.Trailer = http.Header{"X-Sum": {"42"}}
			d := c.drips(r)
			body := pattern(20000)
			for i := range 20 {
				_, _ = d.Write(body[i*1000 : (i+1)*1000])
				if i == 3 {
					tr.await(t, path, 2)
				}
			}
			_ = d.Close()
			wantStatus(t, <-d.answer, 200)
			if seen := tr.at(path); len(seen) != 3 || !bytes.Equal(seen[2].body, body) || seen[2].trailer.Get("X-Sum") != "42" {
				t.Errorf("%d attempts, the last of %d bytes, trailers %v", len(seen), len(seen[len(seen)-1].body), seen[len(seen)-1].trailer)
			}
		}
	})
}

// What comes while nobody is asked may be more than is kept: all of it is still there, for nobody took of it since.
func TestBodyThatOutgrowsTheBufferBetweenAttemptsLosesNothing(t *testing.T) {
	t.Parallel()
	for _, down := range []string{"h1", "h2"} {
		t.Run(down, func(t *testing.T) {
			t.Parallel()
			g, tr := repeating(t, "h2", "{buffer: 1KiB, backoff: 1s}")
			failing := answers(200, "Content-Type", "application/grpc", "Grpc-Status", "14", "Grpc-Retry-Pushback-Ms", "500")
			if down == "h1" { // a wait that is random; most are long enough
				failing = answers(503)
			}
			tr.play("/a.B/C", after(1, func(w http.ResponseWriter, r *http.Request) {
				if down == "h1" {
					failing(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/grpc")
				w.Header().Set("Grpc-Status", "14")
				w.Header().Set("Grpc-Retry-Pushback-Ms", "500")
			}))
			r := uploads("/a.B/C", nil, false)
			if r.Method = "PUT"; down == "h2" {
				r.Method = "POST"
				r.Header.Set("Content-Type", "application/grpc")
				r.Header.Set("Te", "trailers")
			}
			d, body := g.client(t, down, common().web).drips(r), pattern(300000)
			_, _ = d.Write(body[:10])
			waitFor(t, "the first attempt to fail", patience, func() bool {
				return g.retries(t, tr.addresses[0], "retriable_grpc_status")+g.retries(t, tr.addresses[1], "retriable_grpc_status")+
					g.retries(t, tr.addresses[0], "retriable_status")+g.retries(t, tr.addresses[1], "retriable_status") == 1
			})
			_, _ = d.Write(body[10:])
			_ = d.Close()
			wantStatus(t, <-d.answer, 200)
			if seen := tr.at("/a.B/C"); len(seen) != 2 || !bytes.Equal(seen[1].body, body) {
				t.Errorf("%d attempts, the last of %d bytes", len(seen), len(seen[len(seen)-1].body))
			}
		})
	}
}

func TestLargeUploadsGoOnAfterARepeat(t *testing.T) {
	t.Parallel()
	for _, up := range []string{"h1", "h2"} {
		for _, down := range []string{"h1", "h2"} {
			t.Run(down+" to "+up, func(t *testing.T) {
				t.Parallel()
				g, tr := repeating(t, up, "{non_idempotent: true, backoff: 0s, buffer: 4MiB}")
				c, body := g.client(t, down, common().web), pattern(8<<20)
				for round, first := range []int{10, 60000, 1 << 20, 3 << 20, 1000, 2 << 20} {
					path := fmt.Sprintf("/%d", round)
					tr.play(path, after(first, answers(503)))
					d := c.drips(uploads(path, nil, false))
					_, _ = d.Write(body[:first])
					tr.await(t, path, 2)
					_, _ = d.Write(body[first:])
					_ = d.Close()
					wantStatus(t, <-d.answer, 200)
					if seen := tr.at(path); len(seen) != 2 || !bytes.Equal(seen[1].body, body) {
						t.Errorf("%d attempts, the last of %d bytes", len(seen), len(seen[len(seen)-1].body))
					}
				}
				if n := c.connections(); down == "h2" && n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// credited reads up to the end of the stream's answer, and adds what windows grew by.
func credited(t *testing.T, framer *http2.Framer, stream uint32) (connection, own uint32) {
	t.Helper()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				connection += f.Increment
			} else if f.StreamID == stream {
				own += f.Increment
			}
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			t.Fatalf("got %v", frame)
		}
		if frame.Header().StreamID == stream && frame.Header().Flags.Has(http2.FlagDataEndStream) && frame.Header().Type != http2.FrameWindowUpdate {
			return connection, own
		}
	}
}

// A byte that is sent twice to backends is credited once to the client.
func TestWindowOfTheClientGrowsByWhatItSent(t *testing.T) {
	t.Parallel()
	g, tr := repeating(t, "h2", "{non_idempotent: true, backoff: 0s, tries: 4}")
	framer := g.framed(t)
	const size, calls = 48000, 60
	tr.play("/x", func() (acts []act) {
		for range 4 * calls {
			acts = append(acts, after(size, answers(503)), after(size/2, answers(503)), nil)
		}
		return acts
	}()...)
	var total, sent uint32
	for call := range calls {
		stream := uint32(2*call + 1)
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: true,
			BlockFragment: block(":method", "POST", ":scheme", "https", ":authority", "gateway.test", ":path", "/x")})
		for part := range 3 {
			_ = framer.WriteData(stream, part == 2, make([]byte, size/3))
		}
		connection, own := credited(t, framer, stream)
		if total, sent = total+connection, sent+size; own > size {
			t.Fatalf("stream %d was credited %d bytes of %d", stream, own, size)
		}
		if call == 0 {
			total, sent = 0, 0 // the window may grow at the beginning
		}
	}
	if n := len(tr.at("/x")); n != 3*calls {
		t.Errorf("%d attempts of %d calls", n, calls)
	}
	if total > sent+2*size || total+(2<<20) < sent {
		t.Errorf("%d bytes were credited of %d", total, sent)
	}
}

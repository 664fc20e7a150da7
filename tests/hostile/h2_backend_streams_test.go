package hostile

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"tollgate/tests/harness"
)

// frugal is Go's own HTTP/2 server, taking so many streams at once of each connection.
func frugal(t *testing.T, streams uint32, handler http.HandlerFunc) string {
	t.Helper()
	listener := harness.Must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	server := &http2.Server{MaxConcurrentStreams: streams}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn, &http2.ServeConnOpts{Handler: handler})
		}
	}()
	return listener.Addr().String()
}

// What comes at once, before the backend has said how little it takes, waits or goes elsewhere; nobody pays for it.
func TestABurstMeetsABackendThatTakesFewStreams(t *testing.T) {
	t.Parallel()
	for _, streams := range []uint32{1, 3, 10} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			t.Parallel()
			const burst = 40
			var all sync.WaitGroup
			all.Add(burst)
			address := frugal(t, streams, func(w http.ResponseWriter, _ *http.Request) {
				all.Done()
				all.Wait() // a stream that waits behind another would wait for ever
				_, _ = fmt.Fprintln(w, "good")
			})
			g := harness.Start(t, harness.Setup{Routes: everything, Backends: []string{harness.H2("web", address)}})
			client := g.Client(t, "h2")
			for range 3 {
				var asked sync.WaitGroup
				for range burst {
					asked.Add(1)
					go func() {
						defer asked.Done()
						if got := harness.Get(client, "/x"); got.Body != "good\n" {
							t.Errorf("got %+v", got)
						}
					}()
				}
				asked.Wait()
				all.Add(burst)
			}
		})
	}
}

package hostile

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"tollgate/tests/harness"
)

// forwarder listens without TLS and passes everything on through TLS with the good certificate, since h2spec itself
// cannot show one.
func forwarder(t *testing.T, g *harness.Gateway) int {
	t.Helper()
	listener := harness.Must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			plain, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(plain, g.Address)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func forward(plain net.Conn, address string) {
	defer func() { _ = plain.Close() }()
	secure, err := tls.Dial("tcp", address, harness.ClientTLS("h2"))
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(secure, plain)
		_ = secure.Close()
	}()
	_, _ = io.Copy(plain, secure)
}

// cases calls run for every case of the group and those below it.
func cases(group *spec.TestGroup, run func(name string, c *spec.TestCase)) {
	for i, c := range append(group.Tests, group.StrictTests...) {
		run(fmt.Sprintf("%s/%d", group.ID(), i+1), c)
	}
	for _, below := range group.Groups {
		cases(below, run)
	}
}

func conforms(t *testing.T, g *harness.Gateway) {
	t.Helper()
	settings := &config.Config{Host: "127.0.0.1", Port: forwarder(t, g), Path: "/", Strict: true,
		Timeout: harness.Slow(2 * time.Second), MaxHeaderLen: 4000}
	total := 0
	for _, suite := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		cases(suite, func(name string, c *spec.TestCase) {
			total++
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				conn, err := spec.Dial(settings)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				if err := c.Run(settings, conn); err != nil { // a skipped case too: none has to be
					t.Errorf("%s\n%s\n%v", c.Desc, c.Requirement, err)
				}
			})
		})
	}
	if total < 145 {
		t.Errorf("only %d cases", total)
	}
}

func TestH2Spec(t *testing.T) {
	t.Run("answered by the gateway", func(t *testing.T) {
		g := harness.Start(t, harness.Setup{Routes: []string{harness.Route("path: /*",
			`respond: {status: 200, body: "long enough for flow control\n"}`)}})
		conforms(t, g)
	})
	for _, protocol := range []string{"h1", "h2"} {
		t.Run("passed on to "+protocol, func(t *testing.T) {
			g, _ := web(t, protocol)
			conforms(t, g)
		})
	}
}

package hostile

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"tollgate/tests/harness"
)

// A refused caller who leaves before it asked for anything is on the record all the same, however it says goodbye.
// (Found by tests/fuzz/connection_fuzz.c.)
func TestRefusedCallerWhoSaysGoodbyeIsRecorded(t *testing.T) {
	const settings, goaway = "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x08\x07\x00\x00\x00\x00\x00"
	for name, lastStream := range map[string]uint32{"in good order": 0, "with a stream of the wrong side": 1} {
		t.Run(name, func(t *testing.T) {
			g, _ := web(t, "h1")
			config := harness.ClientTLS("h2")
			config.Certificates = nil
			conn := tls.Client(g.DialTCP(t), config)
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			goodbye := binary.BigEndian.AppendUint32([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+settings+goaway), lastStream)
			if _, err := conn.Write(append(goodbye, 0, 0, 0, 0)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
			harness.WaitFor(t, "the record", 2*time.Second, func() bool { return g.Audit("certificate_missing") == 1 })
		})
	}
}

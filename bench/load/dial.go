package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// connectionFacts is what was agreed on; the runner refuses to compare unequal ones.
type connectionFacts struct {
	Version  string `json:"version"`
	Cipher   string `json:"cipher"`
	Group    string `json:"group"`
	Protocol string `json:"protocol"`
}

// dialer makes connections with the client certificate. The gateway's own is verified by the runner's probe, not here:
// what the load core need not do leaves it free to keep the gateway busy.
type dialer struct {
	address string
	config  *tls.Config
	slots   chan struct{} // more handshakes at once would only wait for each other, some past the gateway's patience
}

const handshakesAtOnce = 64

func newDialer(address, certificate, key, protocol string) (*dialer, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	return &dialer{address: address, slots: make(chan struct{}, handshakesAtOnce), config: &tls.Config{
		Certificates:       []tls.Certificate{pair},
		InsecureSkipVerify: true,
		ServerName:         "localhost",
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		NextProtos:         []string{protocol},
	}}, nil
}

// resuming is a dialer of its own session cache.
func (d *dialer) resuming() *dialer {
	config := d.config.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return &dialer{d.address, config, d.slots}
}

func (d *dialer) dial() (*tls.Conn, error) {
	d.slots <- struct{}{}
	defer func() { <-d.slots }()
	plain, err := net.DialTimeout("tcp", d.address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	connection := tls.Client(plain, d.config)
	if err := connection.Handshake(); err != nil {
		plain.Close()
		return nil, err
	}
	return connection, nil
}

func facts(connection *tls.Conn) (*connectionFacts, error) {
	state := connection.ConnectionState()
	found := &connectionFacts{
		Version:  tls.VersionName(state.Version),
		Cipher:   tls.CipherSuiteName(state.CipherSuite),
		Group:    state.CurveID.String(),
		Protocol: state.NegotiatedProtocol,
	}
	if !strings.HasPrefix(found.Cipher, "TLS_AES_128_GCM") || state.CurveID != tls.X25519 {
		return found, fmt.Errorf("agreed on %s with %s, not AES-128-GCM with X25519", found.Cipher, found.Group)
	}
	return found, nil
}

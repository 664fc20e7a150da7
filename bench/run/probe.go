package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// prober asks one gateway, with ordinary clients, for every kind of work that is measured.
type prober struct {
	address string
	pki     string
}

// probe gives what the gateway cannot do beyond the common work. An error means its work is not equal to the others'.
func probe(address, pki string) (cannot []string, err error) {
	p := &prober{address, pki}
	required := []struct {
		name string
		try  func() error
	}{
		{"128-byte answer over HTTP/1.1", func() error { return p.body(p.http1("web"), "/small", 's', 128) }},
		{"128-byte answer over HTTP/2", func() error { return p.body(p.http2("web"), "/small", 's', 128) }},
		{"1 MiB over HTTP/1.1", func() error { return p.body(p.http1("web"), "/bulk", 'b', 1<<20) }},
		{"1 MiB over HTTP/2", func() error { return p.body(p.http2("web"), "/bulk", 'b', 1<<20) }},
		{"gRPC unary", p.unary},
		{"gRPC bidi, message by message", p.bidi},
		{"headers to the HTTP backend", p.headers},
		{"client certificate to the gRPC backend", p.grpcCertificate},
		{"no certificate is not served", func() error { return p.refused("") }},
		{"untrusted certificate is not served", func() error { return p.refused("untrusted") }},
		{"expired certificate is not served", func() error { return p.refused("expired") }},
		{"HTTP limit refuses with 429", p.limited},
		{"gRPC limit refuses", p.grpcLimited},
	}
	for _, one := range required {
		if err := one.try(); err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	optional := []struct {
		name string
		try  func() error
	}{
		{"SPIFFE match (lets another trust domain's ID in)", func() error { return p.refused("other") }},
		{"SPIFFE ID in the client certificate header", p.identityHeader},
		{"refusal in gRPC's own terms", p.grpcRefusal},
		{"Retry-After with a 429", p.retryAfter},
		{"TLS session resumption", p.resumption},
	}
	for _, one := range optional {
		if one.try() != nil {
			cannot = append(cannot, one.name)
		}
	}
	return cannot, nil
}

func (p *prober) config(who string) *tls.Config {
	root, _ := os.ReadFile(filepath.Join(p.pki, "ca.pem"))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	config := &tls.Config{RootCAs: pool, ServerName: "localhost", CurvePreferences: []tls.CurveID{tls.X25519}}
	if who != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(p.pki, who+".pem"), filepath.Join(p.pki, who+".key"))
		if err == nil {
			// Given even where the server names other issuers.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
	}
	return config
}

func (p *prober) http1(who string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: p.config(who), DisableKeepAlives: true, DisableCompression: true}}
}

func (p *prober) http2(who string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second,
		Transport: &http2.Transport{TLSClientConfig: p.config(who), DisableCompression: true}}
}

func (p *prober) get(client *http.Client, path string, fields ...string) (*http.Response, []byte, error) {
	request, err := http.NewRequest(http.MethodGet, "https://"+p.address+path, nil)
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

func (p *prober) body(client *http.Client, path string, octet byte, length int) error {
	response, body, err := p.get(client, path)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || !bytes.Equal(body, bytes.Repeat([]byte{octet}, length)) {
		return fmt.Errorf("status %d with %d bytes", response.StatusCode, len(body))
	}
	return nil
}

const forged = "Hash=00;URI=spiffe://cluster.local/forged"

func (p *prober) headers() error {
	_, body, err := p.get(p.http1("web"), "/headers", "X-Forwarded-Client-Cert", forged)
	if err != nil {
		return err
	}
	seen := strings.ToLower(string(body))
	for _, wanted := range []string{"x-forwarded-client-cert: ", "hash=", "cn=web", "x-forwarded-for: ",
		"x-forwarded-proto: https", "x-request-id: "} {
		if !strings.Contains(seen, wanted) {
			return fmt.Errorf("%q is missing in %q", wanted, body)
		}
	}
	if strings.Contains(seen, "forged") {
		return errors.New("the client's own X-Forwarded-Client-Cert passed")
	}
	return nil
}

func (p *prober) identityHeader() error {
	_, body, err := p.get(p.http1("web"), "/headers")
	if err == nil && !strings.Contains(string(body), "URI=spiffe://cluster.local/ns/web/sa/web") {
		err = errors.New("no URI")
	}
	return err
}

func (p *prober) refused(who string) error {
	response, _, err := p.get(p.http1(who), "/small")
	if err == nil && response.StatusCode < 400 {
		return fmt.Errorf("served with %d", response.StatusCode)
	}
	return nil
}

// The first may pass; the second never.
func (p *prober) limited() error {
	var response *http.Response
	var err error
	for range 2 {
		if response, _, err = p.get(p.http1("web"), "/limited"); err != nil {
			return err
		}
	}
	if response.StatusCode != 429 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func (p *prober) retryAfter() error {
	response, _, err := p.get(p.http1("web"), "/limited")
	if err == nil && response.Header.Get("Retry-After") == "" {
		err = errors.New("no Retry-After")
	}
	return err
}

// resumption: TLS 1.3 tickets come with the answer, so the second connection may use one.
func (p *prober) resumption() error {
	config := p.config("web")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	var resumed bool
	for range 2 {
		client := &http.Client{Timeout: 5 * time.Second,
			Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		response, _, err := p.get(client, "/small")
		if err != nil {
			return err
		}
		resumed = response.TLS.DidResume
	}
	if !resumed {
		return errors.New("not resumed")
	}
	return nil
}

func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

func (p *prober) call(ctx context.Context, method string, body io.Reader, fields ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+p.address+"/bench.Echo/"+method, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	return (&http2.Transport{TLSClientConfig: p.config("web"), DisableCompression: true}).RoundTrip(request)
}

func (p *prober) simple(method string, fields ...string) (response *http.Response, body []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if response, err = p.call(ctx, method, bytes.NewReader(message("hello")), fields...); err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response, body, err
}

func (p *prober) unary() error {
	response, body, err := p.simple("Unary")
	if err != nil {
		return err
	}
	if status := response.Trailer.Get("Grpc-Status"); status != "0" || !bytes.Equal(body, message("hello")) {
		return fmt.Errorf("status %d, grpc-status %q, body %q", response.StatusCode, status, body)
	}
	return nil
}

func (p *prober) bidi() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reader, writer := io.Pipe()
	go func() { _, _ = writer.Write(message("first")) }()
	response, err := p.call(ctx, "Bidi", reader)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for _, text := range []string{"first", "second", "third"} {
		if text != "first" {
			if _, err := writer.Write(message(text)); err != nil {
				return err
			}
		}
		got := make([]byte, len(message(text)))
		if _, err := io.ReadFull(response.Body, got); err != nil || !bytes.Equal(got, message(text)) {
			return fmt.Errorf("%q came back as %q: %v", text, got, err)
		}
	}
	writer.Close()
	_, err = io.ReadAll(response.Body)
	if status := response.Trailer.Get("Grpc-Status"); status != "0" {
		return fmt.Errorf("grpc-status %q: %v", status, err)
	}
	return err
}

func (p *prober) grpcCertificate() error {
	response, _, err := p.simple("Certificate", "X-Forwarded-Client-Cert", forged)
	if err != nil {
		return err
	}
	seen := response.Trailer.Get("Seen-Client-Cert")
	if !strings.Contains(seen, "CN=web") || strings.Contains(seen, "forged") {
		return fmt.Errorf("the backend saw %q", seen)
	}
	return nil
}

func (p *prober) grpcLimited() error {
	_, _, _ = p.simple("Limited")
	response, _, err := p.simple("Limited")
	if err == nil && response.Trailer.Get("Grpc-Status") == "0" {
		err = errors.New("passed twice")
	}
	return err
}

// Trailers-only: the status stands in the one HEADERS frame there is.
func (p *prober) grpcRefusal() error {
	response, _, err := p.simple("Limited")
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || response.Header.Get("Grpc-Status") != "8" {
		return fmt.Errorf("status %d, grpc-status %q", response.StatusCode, response.Header.Get("Grpc-Status"))
	}
	return nil
}

// Command client makes gRPC calls through the gateway for the demo and tells how they ended, one
// line for each outcome: "OK 10".
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"tollgate/tests/backend"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, "client:", err)
	os.Exit(1)
}

func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", ca)
	}
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &pair, nil
		}
	}
	return config, nil
}

// outcomes counts how calls ended, by status and message.
type outcomes struct {
	sync.Mutex
	count map[string]int
}

func (o *outcomes) add(err error) {
	o.Lock()
	defer o.Unlock()
	ended := status.Convert(err)
	o.count[strings.TrimSpace(ended.Code().String()+" "+ended.Message())]++
}

func (o *outcomes) print() {
	lines := make([]string, 0, len(o.count))
	for ending, n := range o.count {
		lines = append(lines, fmt.Sprintf("%4d x %s", n, ending))
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
}

func main() {
	address := flag.String("address", "", "address of the gateway")
	ca := flag.String("ca", "", "file of the trusted CA")
	cert := flag.String("cert", "", "file of the client certificate")
	key := flag.String("key", "", "file of its key")
	method := flag.String("method", "/user.UserService/Login", "full method to call")
	calls := flag.Int("calls", 1, "how many calls")
	connections := flag.Int("connections", 1, "over how many connections, at once")
	flag.Parse()

	config, err := tlsConfig(*ca, *cert, *key)
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ended := outcomes{count: map[string]int{}}
	var group sync.WaitGroup
	for connection := range *connections {
		conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
		if err != nil {
			fail(err)
		}
		for call := connection; call < *calls; call += *connections {
			group.Go(func() {
				_, err := backend.Invoke(ctx, conn, *method, []byte("hello"))
				ended.add(err)
			})
		}
	}
	group.Wait()
	ended.print()
}

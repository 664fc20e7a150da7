// Target is something to aim a load at: a gateway with a throwaway PKI and a backend whose delay, size and faults are
// knobs. It runs until interrupted, and says how to reach it (bench/README.md).
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

type knobs struct {
	tollgate, directory, listen, admin, limit, workers string
	delay, jitter                                      time.Duration
	size                                               int
	errors                                             float64
}

func main() {
	log.SetFlags(0)
	var k knobs
	flag.StringVar(&k.tollgate, "tollgate", "build/tollgate", "the program")
	flag.StringVar(&k.directory, "directory", "build/target", "where PKI, configuration and logs go")
	flag.StringVar(&k.listen, "listen", "127.0.0.1:8443", "address of the gateway")
	flag.StringVar(&k.admin, "admin", "127.0.0.1:9901", "address of its admin listener")
	flag.StringVar(&k.workers, "workers", "auto", "workers of the gateway")
	flag.StringVar(&k.limit, "limit", "", "rate and burst for each identity: 100/s,200; none when empty")
	flag.DurationVar(&k.delay, "delay", 0, "before the backend answers")
	flag.DurationVar(&k.jitter, "jitter", 0, "up to so much more, at random")
	flag.IntVar(&k.size, "size", 128, "bytes of an HTTP answer")
	flag.Float64Var(&k.errors, "errors", 0, "share of answers that are 500, or INTERNAL: 0 to 1")
	flag.Parse()
	if flag.NArg() > 0 || k.errors < 0 || k.errors > 1 || k.size < 0 || k.delay < 0 || k.jitter < 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(&k); err != nil {
		log.Fatal("target: ", err)
	}
}

func run(k *knobs) error {
	stop, done := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer done()
	web, err := serveWeb(k)
	if err != nil {
		return err
	}
	rpc, err := serveRPC(k)
	if err != nil {
		return err
	}
	path, err := prepare(k, web, rpc)
	if err != nil {
		return err
	}
	gateway := exec.Command(k.tollgate, "run", "--config", path)
	gateway.Stdout, gateway.Stderr = os.Stdout, os.Stderr
	gateway.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := gateway.Start(); err != nil {
		return err
	}
	pki := filepath.Join(k.directory, "pki")
	fmt.Printf("target: https://%s, with --cacert %[2]s/ca.pem --cert %[2]s/web.pem --key %[2]s/web.key; admin http://%[3]s\n", k.listen, pki, k.admin)
	ended := make(chan error, 1)
	go func() { ended <- gateway.Wait() }()
	select {
	case err := <-ended:
		return fmt.Errorf("the gateway ended: %v", err)
	case <-stop.Done():
		_ = gateway.Process.Signal(syscall.SIGTERM)
		return <-ended
	}
}

// faults waits as the knobs say, and tells whether to fail; false too when the caller is gone.
func (k *knobs) faults(ctx context.Context) bool {
	wait := k.delay
	if k.jitter > 0 {
		wait += rand.N(k.jitter)
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return rand.Float64() < k.errors
}

func serveWeb(k *knobs) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	body := bytes.Repeat([]byte("t"), k.size)
	go func() {
		log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if k.faults(r.Context()) {
				http.Error(w, "as ordered", http.StatusInternalServerError)
				return
			}
			_, _ = w.Write(body)
		})))
	}()
	return listener.Addr().String(), nil
}

// serveRPC offers the standard health service and reflection, so that ghz needs no .proto.
func serveRPC(k *knobs) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if k.faults(ctx) {
				return nil, status.Error(codes.Internal, "as ordered")
			}
			return handle(ctx, request)
		}))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	go func() { log.Fatal(server.Serve(listener)) }()
	return listener.Addr().String(), nil
}

// prepare makes the PKI, unless it is there, and the configuration.
func prepare(k *knobs, web, rpc string) (string, error) {
	directory, err := filepath.Abs(k.directory)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", err
	}
	pki := filepath.Join(directory, "pki")
	if _, err := os.Stat(filepath.Join(pki, "gateway.pem")); err != nil {
		if said, err := exec.Command(k.tollgate, "pki", pki).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %s", err, said)
		}
	}
	limit := ""
	if k.limit != "" {
		rate, burst, found := strings.Cut(k.limit, ",")
		if !found {
			return "", fmt.Errorf("-limit %q: expected a rate and a burst, 100/s,200", k.limit)
		}
		limit = fmt.Sprintf(", rate_limits: [{rate: %s, burst: %s, per: [identity]}]", rate, burst)
	}
	path := filepath.Join(directory, "tollgate.yaml")
	return path, os.WriteFile(path, fmt.Appendf(nil, `version: tollgate/v1
workers: %s
admin: {address: %q}
audit: {path: %q}
listeners:
  - name: target
    address: %q
    tls:
      certificates:
        - {certificate_chain: %[5]s/gateway.pem, private_key: %[5]s/gateway.key}
      validation_context: {trusted_ca: %[5]s/ca.pem, match_subject_alt_names: ["spiffe://cluster.local/*"]}
    limits: {connections: 100000}
    routes:
      - {match: {grpc: "*"}, backend: rpc%[6]s}
      - {match: {path: /*}, backend: web%[6]s}
backends:
  - {name: web, protocol: http1, endpoints: [%[7]q]}
  - {name: rpc, protocol: h2, endpoints: [%[8]q]}
`, k.workers, k.admin, filepath.Join(directory, "audit.jsonl"), k.listen, pki, limit, web, rpc), 0o644)
}

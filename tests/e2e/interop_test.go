package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// The official interop client, all its standard cases that need no authentication service and that
// grpc-go's own interop server can answer (pick_first_unary wants a server id it has not). Its
// program cannot show a client certificate, so its cases run from here, over our own connection.
var interopCases = map[string]func(context.Context, *grpc.ClientConn, testgrpc.TestServiceClient){
	"empty_unary":        plain(interop.DoEmptyUnaryCall),
	"large_unary":        plain(interop.DoLargeUnaryCall),
	"client_streaming":   plain(interop.DoClientStreaming),
	"server_streaming":   plain(interop.DoServerStreaming),
	"ping_pong":          plain(interop.DoPingPong),
	"empty_stream":       plain(interop.DoEmptyStream),
	"custom_metadata":    plain(interop.DoCustomMetadata),
	"cancel_after_begin": plain(interop.DoCancelAfterBegin),

	"timeout_on_sleeping_server":  plain(interop.DoTimeoutOnSleepingServer),
	"cancel_after_first_response": plain(interop.DoCancelAfterFirstResponse),
	"status_code_and_message":     plain(interop.DoStatusCodeAndMessage),
	"special_status_message":      plain(interop.DoSpecialStatusMessage),
	"unimplemented_method": func(ctx context.Context, conn *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, conn)
	},
	"unimplemented_service": func(ctx context.Context, conn *grpc.ClientConn, _ testgrpc.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
	},
	"gzip_large_unary":      plain(interop.DoLargeUnaryCall, grpc.UseCompressor("gzip")),
	"gzip_ping_pong":        plain(interop.DoPingPong, grpc.UseCompressor("gzip")),
	"gzip_client_streaming": plain(interop.DoClientStreaming, grpc.UseCompressor("gzip")),
}

func plain(run func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption),
	options ...grpc.CallOption) func(context.Context, *grpc.ClientConn, testgrpc.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, c testgrpc.TestServiceClient) {
		run(ctx, c, options...)
	}
}

// runInteropCase is the test binary in the role of the client: an interop case that fails ends its
// process, so each has one of its own.
func runInteropCase(name string) {
	dir := os.Getenv("TOLLGATE_INTEROP_DIR")
	cert := must(tls.LoadX509KeyPair(filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key")))
	config := &tls.Config{Certificates: []tls.Certificate{cert}, ServerName: "gateway.test",
		RootCAs: poolOf(must(os.ReadFile(filepath.Join(dir, "ca.pem"))))}
	conn := must(grpc.NewClient(os.Getenv("TOLLGATE_INTEROP_ADDRESS"),
		grpc.WithTransportCredentials(credentials.NewTLS(config))))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	interopCases[name](ctx, conn, testgrpc.NewTestServiceClient(conn))
	_ = conn.Close()
	fmt.Println("interop case passed:", name)
}

func TestOfficialInteropClientPasses(t *testing.T) {
	t.Parallel()
	users := grpcBackend(t)
	web := common().web
	g := start(t, setup{routes: []string{route(`grpc: "*"`, "backend: users")},
		backends: []string{h2("users", users.Address)},
		files:    map[string][]byte{"web.pem": pemCertificates(web.Certificate...), "web.key": pemKey(web.PrivateKey)}})
	names := make([]string, 0, len(interopCases))
	for name := range interopCases {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(must(os.Executable()))
			command.Env = append(os.Environ(), "TOLLGATE_INTEROP_CASE="+name,
				"TOLLGATE_INTEROP_DIR="+g.dir, "TOLLGATE_INTEROP_ADDRESS="+g.address)
			if output, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
}

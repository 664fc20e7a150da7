package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// aim starts a target with these knobs, and returns its address and what a client needs to pass.
func aim(t *testing.T, knobs ...string) (string, *tls.Config) {
	t.Helper()
	directory, address, admin := t.TempDir(), free(t), free(t)
	tollgate, err := filepath.Abs("../../build/tollgate")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(directory, "target")
	if said, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	command := exec.Command(program, append([]string{"-tollgate", tollgate, "-directory", directory, "-listen", address,
		"-admin", admin}, knobs...)...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("the target ended with %v", err)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; {
		if answer, err := http.Get("http://" + admin + "/readyz"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("the target is not ready")
		}
		time.Sleep(10 * time.Millisecond)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(directory, "pki/web.pem"), filepath.Join(directory, "pki/web.key"))
	if err != nil {
		t.Fatal(err)
	}
	return address, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}
}

func get(t *testing.T, address string, config *tls.Config) (status, size int) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + address + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, len(body)
}

func check(t *testing.T, address string, config *tls.Config) codes.Code {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	return status.Code(err)
}

func TestEveryKnobTurnsSomething(t *testing.T) {
	for name, one := range map[string]struct {
		knobs        []string
		status, size int
		code         codes.Code
		atLeast      time.Duration
	}{
		"none":   {nil, 200, 128, codes.OK, 0},
		"size":   {[]string{"-size", "70000"}, 200, 70000, codes.OK, 0},
		"errors": {[]string{"-errors", "1"}, 500, len("as ordered\n"), codes.Internal, 0},
		"delay":  {[]string{"-delay", "300ms"}, 200, 128, codes.OK, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			address, config := aim(t, one.knobs...)
			began := time.Now()
			if status, size := get(t, address, config); status != one.status || size != one.size {
				t.Errorf("status %d, %d bytes", status, size)
			}
			if took := time.Since(began); took < one.atLeast {
				t.Errorf("took %v", took)
			}
			if code := check(t, address, config); code != one.code {
				t.Errorf("gRPC %v", code)
			}
		})
	}
	t.Run("limit", func(t *testing.T) {
		address, config := aim(t, "-limit", "1/h,2")
		for _, want := range []int{200, 200, 429} {
			if status, _ := get(t, address, config); status != want {
				t.Errorf("status %d, want %d", status, want)
			}
		}
	})
}

// Command backend runs the test backends: it prints one JSON line with their addresses, and ends
// when standard input closes or on SIGTERM.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"tollgate/tests/backend"
)

type addresses struct {
	GRPC string `json:"grpc,omitempty"`
	HTTP string `json:"http,omitempty"`
	H2C  string `json:"h2c,omitempty"`
}

func start(grpcAddress, httpAddress, h2cAddress string) (listening addresses, err error) {
	if grpcAddress != "" {
		server, err := backend.StartGRPC(grpcAddress)
		if err != nil {
			return listening, err
		}
		listening.GRPC = server.Address
	}
	if httpAddress != "" {
		server, err := backend.StartHTTP(httpAddress, false)
		if err != nil {
			return listening, err
		}
		listening.HTTP = server.Address
	}
	if h2cAddress != "" {
		server, err := backend.StartHTTP(h2cAddress, true)
		if err != nil {
			return listening, err
		}
		listening.H2C = server.Address
	}
	return listening, nil
}

func main() {
	grpcAddress := flag.String("grpc", "127.0.0.1:0", "address of the gRPC backend (h2c); empty: none")
	httpAddress := flag.String("http", "127.0.0.1:0", "address of the HTTP/1.1 backend; empty: none")
	h2cAddress := flag.String("h2c", "127.0.0.1:0", "address of the plain HTTP/2 backend; empty: none")
	detached := flag.Bool("detached", false, "do not end when standard input closes")
	flag.Parse()

	listening, err := start(*grpcAddress, *httpAddress, *h2cAddress)
	if err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(listening)

	ended := make(chan os.Signal, 2)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	if !*detached {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			ended <- syscall.SIGTERM
		}()
	}
	<-ended
}

package main

import "strconv"

// testCase is one column of work; its unit's cost is the figure.
type testCase struct {
	name, what, unit string
	// must is the ratio to the best peer that issue 5 asks for.
	must       float64
	mustKiB    float64
	arguments  []string
	idle       bool
	perUnit    float64
	refusals   bool
	resumption bool
}

func load(kind, protocol, path string, connections int, more ...string) []string {
	return append([]string{"-kind", kind, "-protocol", protocol, "-path", path,
		"-connections", strconv.Itoa(connections)}, more...)
}

var allCases = []testCase{
	{name: "a", what: "HTTP/1.1 keep-alive, 64 connections, 128-byte answers", unit: "µs/request", must: 0.80,
		arguments: load("steady", "h1", "/small", 64, "-length", "128")},
	{name: "b", what: "gRPC unary, 8 connections × 32 streams, h2c backend", unit: "µs/call", must: 0.80,
		arguments: load("steady", "grpc", "/bench.Echo/Unary", 8, "-streams", "32", "-expect", "0", "-length", "133")},
	{name: "c", what: "new connection, full mTLS handshake, one request", unit: "µs", must: 0.85,
		arguments: load("fresh", "h1", "/small", 16, "-length", "128")},
	{name: "d", what: "resumed connection, one request", unit: "µs", must: 0.60, resumption: true,
		arguments: load("resumed", "h1", "/small", 16, "-length", "128")},
	{name: "e1", what: "bulk answers of 1 MiB, HTTP/1.1, 8 connections", unit: "µs/MiB", must: 0.90,
		arguments: load("steady", "h1", "/bulk", 8, "-length", "1048576")},
	{name: "e2", what: "bulk answers of 1 MiB, HTTP/2, 4 connections × 2 streams", unit: "µs/MiB", must: 0.90,
		arguments: load("steady", "h2", "/bulk", 4, "-streams", "2", "-length", "1048576")},
	{name: "f1", what: "refused with 429, HTTP/1.1, 64 connections", unit: "µs", must: 0.75, refusals: true,
		arguments: load("steady", "h1", "/limited", 64, "-expect", "429")},
	{name: "f2", what: "refused with RESOURCE_EXHAUSTED, gRPC, 8 connections × 32 streams", unit: "µs", must: 0.80,
		refusals: true, arguments: load("steady", "grpc", "/bench.Echo/Limited", 8, "-streams", "32", "-expect", "8")},
	{name: "i", what: "bidi stream message, 8 connections × 8 streams × 16 messages under way", unit: "µs", must: 1.0,
		arguments: load("bidi", "grpc", "/bench.Echo/Bidi", 8, "-streams", "8", "-messages", "16", "-expect", "0")},
	{name: "g1", what: "memory per idle mTLS connection, HTTP/1.1", unit: "KiB RSS", mustKiB: 20, idle: true,
		arguments: load("idle", "h1", "/small", 1000, "-length", "128")},
	{name: "g2", what: "memory per idle mTLS connection, HTTP/2", unit: "KiB RSS", mustKiB: 26, idle: true,
		arguments: load("idle", "h2", "/small", 1000, "-length", "128")},
}

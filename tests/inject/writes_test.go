package inject

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"tollgate/tests/backend"
	"tollgate/tests/harness"
)

// noise is content in which a byte lost, doubled or moved shows.
func noise(size int) []byte {
	bytes := make([]byte, size)
	source := rand.NewChaCha8([32]byte{7})
	_, _ = source.Read(bytes)
	return bytes
}

func (town *town) echoes(t *testing.T, client *http.Client, path string, body []byte) {
	t.Helper()
	answer, err := client.Post("https://gateway.test"+path, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	var echo backend.Echo
	if err != nil || json.Unmarshal(text, &echo) != nil {
		t.Fatalf("%s: %s, %d bytes, %v", path, answer.Status, len(text), err)
	}
	if !bytes.Equal(echo.Body, body) {
		t.Errorf("%s: %d bytes went, %d others came back", path, len(body), len(echo.Body))
	}
}

func (town *town) chats(t *testing.T, messages, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Slow(harness.Patience*4))
	defer cancel()
	stream, err := backend.Open(ctx, town.GRPC(t), "/user.UserService/Chat")
	if err != nil {
		t.Fatal(err)
	}
	message := noise(size)
	for i := range messages {
		message[i]++
		if err := stream.Send(message); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if reply, err := stream.Receive(); err != nil || !bytes.Equal(reply, message) {
			t.Fatalf("message %d: %d bytes came back, %v", i, len(reply), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Receive(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// Whatever the kernel takes of a write, every byte arrives once and in its place, in both directions and over every pair
// of protocols.
func TestEveryByteArrivesWhateverWritesTake(t *testing.T) {
	for name, faults := range map[string]string{
		"one byte":               "uv_try_write:short:1",
		"nothing":                "uv_try_write:EAGAIN:1",
		"one byte or nothing":    "uv_try_write:short:2,uv_try_write:EAGAIN:3",
		"nothing now and then":   "uv_try_write:EAGAIN:7",
		"no end can be shut":     "uv_shutdown:ENOTCONN:1",
		"one byte, and no delay": "uv_try_write:short:5,uv_shutdown:ENOTCONN:2",
	} {
		t.Run(name, func(t *testing.T) {
			town := start(t, faults)
			for _, protocol := range []string{"h1", "h2"} {
				client := town.Client(t, protocol)
				for _, path := range []string{"/h1/echo", "/h2/echo"} {
					town.echoes(t, client, path, noise(2<<20))
					town.echoes(t, client, path, nil)
				}
				client.CloseIdleConnections()
			}
			town.chats(t, 8, 300_000)
			wire := town.Wire(t) // its end is announced, which is where uv_shutdown fails
			wire.Say("GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
			if reply := wire.Hear("GET"); reply.Status != http.StatusOK {
				t.Errorf("the last request: %+v", reply)
			}
			if _, err := wire.Rest(); err != nil {
				t.Errorf("the end of the connection: %v", err)
			}
			town.end(t)
		})
	}
}

// A write that fails ends its connection for both sides to see: what a client takes for whole is whole.
func TestFailedWriteIsAnHonestEnd(t *testing.T) {
	town := start(t, "uv_try_write:EAGAIN:1,uv_write:EPIPE:41")
	whole, broken := 0, 0
	body := noise(200_000)
	for i := range 40 {
		protocol := []string{"h1", "h2"}[i%2]
		client := town.Client(t, protocol)
		answer, err := client.Post("https://gateway.test/h1/echo", "text/plain", bytes.NewReader(body))
		if err != nil {
			broken++
			continue
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		var echo backend.Echo
		switch {
		case err != nil || answer.StatusCode == http.StatusBadGateway || answer.StatusCode == http.StatusServiceUnavailable:
			broken++
		case json.Unmarshal(text, &echo) == nil && bytes.Equal(echo.Body, body):
			whole++
		default:
			t.Errorf("over %s: %s with %d bytes looks whole and is not", protocol, answer.Status, len(text))
		}
	}
	if whole == 0 || broken == 0 {
		t.Errorf("%d whole, %d broken: the faults should have let some through", whole, broken)
	}
	town.end(t)
}

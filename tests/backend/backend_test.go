package backend

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func dialed(t *testing.T) (*GRPC, *grpc.ClientConn, context.Context) {
	t.Helper()
	server, err := StartGRPC("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(server.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return server, conn, ctx
}

func ordered(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func TestUnaryEchoesPayloadAndMetadata(t *testing.T) {
	server, conn, ctx := dialed(t)
	var header, trailer metadata.MD
	out, err := Invoke(ordered(ctx, "x-echo-a", "1", "x-trailer-b-bin", "\x00\xff"), conn,
		"/user.UserService/Login", []byte("hello"), grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || string(out) != "hello" {
		t.Fatalf("got %q, %v", out, err)
	}
	if one(header, "x-echo-a") != "1" || one(trailer, "x-trailer-b-bin") != "\x00\xff" {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
	if n := server.Journal.Count("/user.UserService/Login"); n != 1 {
		t.Errorf("%d calls in the journal", n)
	}
}

func TestFailsAsOrdered(t *testing.T) {
	_, conn, ctx := dialed(t)
	_, err := Invoke(ordered(ctx, DoFail, "5", DoMessage, "fünf\n", DoDetails, "more"), conn,
		"/order.OrderService/GetOrder", nil)
	failure := status.Convert(err)
	if failure.Code() != codes.NotFound || failure.Message() != "fünf\n" || len(failure.Details()) != 1 {
		t.Fatalf("got %v", failure)
	}
}

func TestCancelIsRecorded(t *testing.T) {
	server, conn, ctx := dialed(t)
	calling, cancel := context.WithCancel(ordered(ctx, DoSleep, "1h"))
	go func() {
		_, _ = server.Journal.Wait(ctx, "", func(Call) bool { return true })
		cancel()
	}()
	if _, err := Invoke(calling, conn, "/user.UserService/GetUser", nil); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	if _, err := server.Journal.Wait(ctx, "", func(c Call) bool { return c.Cancelled }); err != nil {
		t.Fatal(err)
	}
}

func TestStreams(t *testing.T) {
	_, conn, ctx := dialed(t)
	list, _ := Open(ordered(ctx, DoCount, "5"), conn, "/user.UserService/ListUsers")
	_ = list.Send([]byte("x"))
	_ = list.CloseSend()
	n := 0
	for {
		_, err := list.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d messages listed", n)
	}
	upload, _ := Open(ctx, conn, "/user.UserService/UploadUsers")
	for range 4 {
		_ = upload.Send([]byte("u"))
	}
	_ = upload.CloseSend()
	if sum, err := upload.Receive(); err != nil || string(sum) != "4 messages" {
		t.Errorf("upload: %q, %v", sum, err)
	}
}

func TestDiesInMidStream(t *testing.T) {
	_, conn, ctx := dialed(t)
	chat, _ := Open(ordered(ctx, DoDie, "reset", DoDieAfter, "1"), conn, "/user.UserService/Chat")
	_ = chat.Send([]byte("one"))
	if _, err := chat.Receive(); err != nil {
		t.Fatal(err)
	}
	_ = chat.Send([]byte("two"))
	if _, err := chat.Receive(); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
}

func TestHTTPAnswers(t *testing.T) {
	for name, h2c := range map[string]bool{"http1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) {
			server, err := StartHTTP("127.0.0.1:0", h2c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Stop)
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!h2c)
			protocols.SetUnencryptedHTTP2(h2c)
			transport := &http.Transport{Protocols: protocols}
			t.Cleanup(transport.CloseIdleConnections)
			answer, err := (&http.Client{Transport: transport}).Post(
				"http://"+server.Address+"/trailers", "", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			if string(body) != "body" || answer.Trailer.Get("X-Sum") != "42" {
				t.Errorf("got %q, trailers %v", body, answer.Trailer)
			}
			if calls := server.Journal.Calls("POST /trailers"); len(calls) != 1 || !calls[0].BodyComplete {
				t.Errorf("journal: %+v", calls)
			}
		})
	}
}

func TestScriptedCountsBytes(t *testing.T) {
	server, err := StartScripted("127.0.0.1:0", Good)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	answer, err := http.Get("http://" + server.Address + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if server.Requests.Load() != 1 || server.Wire.Bytes.Load() == 0 {
		t.Errorf("%d requests, %d bytes", server.Requests.Load(), server.Wire.Bytes.Load())
	}
}

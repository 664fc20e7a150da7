package backend

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What a caller can order by request metadata. Everything it sends under x-echo-… comes back as
// response headers, everything under x-trailer-… as trailers, and all metadata the backend saw as
// JSON in the header seen-bin.
const (
	DoFail         = "do-fail"         // number of a status code to end with
	DoMessage      = "do-message-bin"  // its message
	DoDetails      = "do-details-bin"  // attach a detail with this text
	DoSleep        = "do-sleep"        // duration before answering, cut short by a cancel
	DoIgnoreCancel = "do-ignorecancel" // sleep on even when cancelled
	DoHeaders      = "do-headers"      // send the response headers before anything else
	DoSize         = "do-size"         // bytes of each reply, instead of an echo
	DoCount        = "do-count"        // messages of a server stream (3)
	DoGap          = "do-gap"          // pause between them
	DoStallAfter   = "do-stall-after"  // UploadUsers: stop reading after N messages
	DoDie          = "do-die"          // "close" or "reset" the connection …
	DoDieAfter     = "do-die-after"    // … after N messages (0)
)

type orders struct {
	fail                 codes.Code
	message, details     string
	sleep, gap           time.Duration
	ignoreCancel         bool
	headers              bool
	size                 int // -1: echo
	count                int
	die                  string
	dieAfter, stallAfter int // -1: never
}

func one(md metadata.MD, key string) string {
	if values := md.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

func number(md metadata.MD, key string, otherwise int) int {
	if n, err := strconv.Atoi(one(md, key)); err == nil {
		return n
	}
	return otherwise
}

func duration(md metadata.MD, key string) time.Duration {
	d, _ := time.ParseDuration(one(md, key))
	return d
}

func readOrders(md metadata.MD) orders {
	o := orders{
		fail:    codes.Code(number(md, DoFail, 0)),
		message: one(md, DoMessage), details: one(md, DoDetails),
		sleep: duration(md, DoSleep), gap: duration(md, DoGap),
		ignoreCancel: one(md, DoIgnoreCancel) != "", headers: one(md, DoHeaders) != "",
		size: number(md, DoSize, -1), count: number(md, DoCount, 3),
		die: one(md, DoDie), dieAfter: -1, stallAfter: number(md, DoStallAfter, -1),
	}
	if o.die != "" {
		o.dieAfter = number(md, DoDieAfter, 0)
	}
	return o
}

// obey does what is due before the first message: headers, sleep, an early death.
func (b *GRPC) obey(ctx context.Context, setHeader, setTrailer func(context.Context, metadata.MD) error,
) (orders, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	o := readOrders(md)
	if err := setHeader(ctx, answerHeaders(md)); err != nil {
		return o, err
	}
	if err := setTrailer(ctx, prefixed(md, "x-trailer-")); err != nil {
		return o, err
	}
	if o.headers {
		if err := grpc.SendHeader(ctx, nil); err != nil {
			return o, err
		}
	}
	if err := o.pause(ctx, o.sleep); err != nil {
		return o, err
	}
	if o.dieAfter == 0 {
		return o, b.die(ctx, o.die)
	}
	return o, nil
}

func (b *GRPC) obeyStream(stream grpc.ServerStream) (orders, error) {
	return b.obey(stream.Context(),
		func(_ context.Context, md metadata.MD) error { return stream.SetHeader(md) },
		func(_ context.Context, md metadata.MD) error { stream.SetTrailer(md); return nil })
}

func answerHeaders(md metadata.MD) metadata.MD {
	headers := prefixed(md, "x-echo-")
	seen, _ := json.Marshal(md)
	headers.Set("seen-bin", string(seen))
	return headers
}

func prefixed(md metadata.MD, prefix string) metadata.MD {
	found := metadata.MD{}
	for key, values := range md {
		if strings.HasPrefix(key, prefix) {
			found[key] = values
		}
	}
	return found
}

func (o orders) pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	if o.ignoreCancel {
		<-timer.C
		return nil
	}
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (o orders) failure() error {
	failure := status.New(o.fail, o.message)
	if o.details != "" {
		if detailed, err := failure.WithDetails(wrapperspb.String(o.details)); err == nil {
			failure = detailed
		}
	}
	return failure.Err()
}

func (o orders) reply(echo []byte) *wrapperspb.BytesValue {
	if o.size >= 0 {
		return wrapperspb.Bytes(make([]byte, o.size))
	}
	return wrapperspb.Bytes(echo)
}

// summary tells a client stream what arrived of it.
func summary(stream grpc.ServerStream) []byte {
	recorded, ok := stream.(*recordedStream)
	if !ok {
		return nil
	}
	var text []byte
	recorded.journal.update(func() {
		text = []byte(strconv.Itoa(recorded.call.Received) + " messages")
	})
	return text
}

func remaining(ctx context.Context) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	return time.Until(deadline), true
}

func now() time.Time { return time.Now() }

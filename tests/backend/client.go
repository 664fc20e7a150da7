package backend

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Invoke makes a unary call of one of this package's services.
func Invoke(ctx context.Context, conn grpc.ClientConnInterface, method string, payload []byte,
	options ...grpc.CallOption) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	err := conn.Invoke(ctx, method, wrapperspb.Bytes(payload), out, options...)
	return out.GetValue(), err
}

// A Stream is the client's side of a streaming call of one of this package's services.
type Stream struct{ grpc.ClientStream }

// Open starts a streaming call; any kind will do, the server knows which it is.
func Open(ctx context.Context, conn grpc.ClientConnInterface, method string,
	options ...grpc.CallOption) (Stream, error) {
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, both, method, options...)
	return Stream{stream}, err
}

// Send sends one message.
func (s Stream) Send(payload []byte) error { return s.SendMsg(wrapperspb.Bytes(payload)) }

// Receive waits for one message.
func (s Stream) Receive() ([]byte, error) {
	in := new(wrapperspb.BytesValue)
	err := s.RecvMsg(in)
	return in.GetValue(), err
}

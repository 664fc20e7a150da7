// Package backend has the servers that the gateway is tested against: grpc-go and net/http ones
// that do as the request tells them, and broken ones. What reached them is in their Journal, and,
// below any protocol, in their Wire.
package backend

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // registers the compressor
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// MaxMessage is the largest message the gRPC backend takes.
const MaxMessage = 64 << 20

// GRPC is a grpc-go server over h2c with user.UserService and order.OrderService (every message is
// a google.protobuf.BytesValue, so no generated code is needed), the official interop service, and
// health.
type GRPC struct {
	Address string
	Journal *Journal
	Wire    *Wire
	Health  *health.Server // what grpc.health.v1 tells
	server  *grpc.Server
}

// StartGRPC serves on the address, which may have port 0; options are the likes of grpc.Creds.
func StartGRPC(address string, options ...grpc.ServerOption) (*GRPC, error) {
	listener, err := listen(address)
	if err != nil {
		return nil, err
	}
	b := &GRPC{Address: listener.Addr().String(), Journal: NewJournal(), Wire: listener.wire,
		Health: health.NewServer()}
	b.server = grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(1<<30),
		grpc.ChainUnaryInterceptor(b.recordUnary), grpc.ChainStreamInterceptor(b.recordStream))...)
	for _, name := range []string{"user.UserService", "order.OrderService"} {
		b.server.RegisterService(b.describe(name), b)
	}
	testgrpc.RegisterTestServiceServer(b.server, interop.NewTestServer())
	healthpb.RegisterHealthServer(b.server, b.Health)
	go func() { _ = b.server.Serve(listener) }()
	return b, nil
}

// Stop ends the server and all its connections.
func (b *GRPC) Stop() { b.server.Stop() }

func (b *GRPC) describe(service string) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			b.unaryMethod(service, "Login"), b.unaryMethod(service, "GetUser"),
			b.unaryMethod(service, "GetOrder"),
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "ListUsers", Handler: b.listUsers, ServerStreams: true},
			{StreamName: "UploadUsers", Handler: b.uploadUsers, ClientStreams: true},
			{StreamName: "Chat", Handler: b.chat, ServerStreams: true, ClientStreams: true},
		},
	}
}

func (b *GRPC) unaryMethod(service, name string) grpc.MethodDesc {
	handle := func(ctx context.Context, in any) (any, error) { return b.unary(ctx, in) }
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context,
		decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.BytesValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: b, FullMethod: "/" + service + "/" + name}
		return intercept(ctx, in, info, handle)
	}}
}

type callKey struct{}

func (b *GRPC) begin(ctx context.Context, method string) (context.Context, *Call) {
	call := &Call{Method: method}
	call.Metadata, _ = metadata.FromIncomingContext(ctx)
	if from, ok := peer.FromContext(ctx); ok {
		call.Peer = from.Addr.String()
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
			call.TLS = &info.State
		}
	}
	call.Remaining, call.HasDeadline = remaining(ctx)
	b.Journal.add(call)
	return context.WithValue(ctx, callKey{}, call), call
}

func (b *GRPC) end(ctx context.Context, call *Call, err error) {
	b.Journal.update(func() {
		call.Done, call.Code = true, status.Code(err)
		call.Cancelled = ctx.Err() != nil
		call.Ended = now()
	})
}

func (b *GRPC) recordUnary(ctx context.Context, in any, info *grpc.UnaryServerInfo,
	next grpc.UnaryHandler) (any, error) {
	ctx, call := b.begin(ctx, info.FullMethod)
	b.Journal.update(func() { call.Received, call.ReceivedBytes = 1, size(in) })
	out, err := next(ctx, in)
	b.end(ctx, call, err)
	return out, err
}

func (b *GRPC) recordStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
	next grpc.StreamHandler) error {
	ctx, call := b.begin(stream.Context(), info.FullMethod)
	err := next(server, &recordedStream{stream, ctx, b.Journal, call})
	b.end(ctx, call, err)
	return err
}

type recordedStream struct {
	grpc.ServerStream
	ctx     context.Context
	journal *Journal
	call    *Call
}

func (s *recordedStream) Context() context.Context { return s.ctx }

func (s *recordedStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if err == nil {
		s.journal.update(func() { s.call.Received++; s.call.ReceivedBytes += size(message) })
	}
	return err
}

func (s *recordedStream) SendMsg(message any) error {
	err := s.ServerStream.SendMsg(message)
	if err == nil {
		s.journal.update(func() { s.call.Sent++; s.call.SentBytes += size(message) })
	}
	return err
}

func size(message any) int {
	if m, ok := message.(proto.Message); ok {
		return proto.Size(m)
	}
	return 0
}

func (b *GRPC) unary(ctx context.Context, in any) (any, error) {
	orders, err := b.obey(ctx, grpc.SetHeader, grpc.SetTrailer)
	if err != nil {
		return nil, err
	}
	if orders.fail != codes.OK {
		return nil, orders.failure()
	}
	return orders.reply(in.(*wrapperspb.BytesValue).GetValue()), nil
}

func (b *GRPC) listUsers(_ any, stream grpc.ServerStream) error {
	in := new(wrapperspb.BytesValue)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	orders, err := b.obeyStream(stream)
	if err != nil {
		return err
	}
	for sent := 0; sent < orders.count; sent++ {
		if orders.dieAfter == sent {
			return b.die(stream.Context(), orders.die)
		}
		if err := stream.SendMsg(orders.reply(in.GetValue())); err != nil {
			return err
		}
		if err := orders.pause(stream.Context(), orders.gap); err != nil {
			return err
		}
	}
	return b.finish(stream.Context(), orders)
}

func (b *GRPC) uploadUsers(_ any, stream grpc.ServerStream) error {
	orders, err := b.obeyStream(stream)
	if err != nil {
		return err
	}
	for received := 0; ; received++ {
		if orders.stallAfter == received {
			<-stream.Context().Done() // a slow backend: it reads no more
			return status.FromContextError(stream.Context().Err()).Err()
		}
		if orders.dieAfter == received {
			return b.die(stream.Context(), orders.die)
		}
		switch err := stream.RecvMsg(new(wrapperspb.BytesValue)); err {
		case nil:
		case io.EOF:
			if err := b.finish(stream.Context(), orders); err != nil {
				return err
			}
			return stream.SendMsg(orders.reply(summary(stream)))
		default:
			return err
		}
	}
}

func (b *GRPC) chat(_ any, stream grpc.ServerStream) error {
	orders, err := b.obeyStream(stream)
	if err != nil {
		return err
	}
	for received := 0; ; received++ {
		in := new(wrapperspb.BytesValue)
		switch err := stream.RecvMsg(in); err {
		case nil:
		case io.EOF:
			return b.finish(stream.Context(), orders)
		default:
			return err
		}
		// Only the message after those echoed kills, so that the echoes surely arrived before.
		if orders.dieAfter == received {
			return b.die(stream.Context(), orders.die)
		}
		if err := stream.SendMsg(orders.reply(in.GetValue())); err != nil {
			return err
		}
	}
}

func (b *GRPC) finish(ctx context.Context, orders orders) error {
	if orders.fail != codes.OK {
		return orders.failure()
	}
	if orders.dieAfter == orders.count {
		return b.die(ctx, orders.die)
	}
	return nil
}

// die breaks the connection that the call came over, as a crashing backend would.
func (b *GRPC) die(ctx context.Context, how string) error {
	if from, ok := peer.FromContext(ctx); ok {
		b.Wire.Kill(from.Addr.String(), how == "reset")
	}
	return status.Error(codes.Aborted, "this answer is not to be seen: the connection is dead")
}

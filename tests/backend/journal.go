package backend

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// A Call is what a backend saw of one gRPC call or HTTP request. The journal hands out copies.
type Call struct {
	Method      string // "/user.UserService/Login", or "GET /path" for HTTP
	Peer        string // the gateway's side of the connection it came over
	Metadata    metadata.MD
	HasDeadline bool
	Remaining   time.Duration // to the deadline, when the call began

	TLS *tls.ConnectionState // nil: clear text; over HTTP/2 also where :scheme is not https

	Received, ReceivedBytes int // messages and bytes taken from the client
	Sent, SentBytes         int // messages and bytes given to the client

	BodyComplete bool   // HTTP: the request body was read to a well-formed end
	BodyError    string // HTTP: how it ended otherwise

	Done      bool
	Cancelled bool // the context was cancelled before the handler returned
	Code      codes.Code
	Began     time.Time
	Ended     time.Time
}

// Journal records calls, so that tests can assert what did and what did not reach the backend.
type Journal struct {
	mutex   sync.Mutex
	calls   []*Call
	changed chan struct{}
}

// NewJournal returns an empty journal.
func NewJournal() *Journal { return &Journal{changed: make(chan struct{})} }

func (j *Journal) add(call *Call) *Call {
	call.Began = time.Now()
	j.update(func() { j.calls = append(j.calls, call) })
	return call
}

// update changes calls under the lock and wakes every Wait.
func (j *Journal) update(change func()) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	change()
	close(j.changed)
	j.changed = make(chan struct{})
}

// Calls returns copies of all calls so far, of the one method if it is not empty.
func (j *Journal) Calls(method string) []Call {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	var found []Call
	for _, call := range j.calls {
		if method == "" || call.Method == method {
			found = append(found, *call)
		}
	}
	return found
}

// Count returns how many calls of the method came in; of any method if it is empty.
func (j *Journal) Count(method string) int { return len(j.Calls(method)) }

// Reset forgets all calls.
func (j *Journal) Reset() { j.update(func() { j.calls = nil }) }

// Wait blocks until some call of the method satisfies the condition, and returns that call.
func (j *Journal) Wait(ctx context.Context, method string, condition func(Call) bool) (Call, error) {
	for {
		j.mutex.Lock()
		changed := j.changed
		j.mutex.Unlock()
		for _, call := range j.Calls(method) {
			if condition(call) {
				return call, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Call{}, fmt.Errorf("backend journal: no such call of %q among %d calls: %w",
				method, j.Count(""), ctx.Err())
		}
	}
}

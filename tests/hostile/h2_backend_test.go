package hostile

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tollgate/tests/backend"
)

// An h2Peer is the raw backend's end of an HTTP/2 connection with prior knowledge: it writes what it is told to, right
// or wrong.
type h2Peer struct {
	*http2.Framer
	*backend.Peer
	block   bytes.Buffer
	encoder *hpack.Encoder
	fault   string // what the other side said that is no HTTP/2 request
}

// meet reads the preface and sends the settings.
func meet(p *backend.Peer, settings ...http2.Setting) *h2Peer {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.Reader, preface); err != nil || string(preface) != http2.ClientPreface {
		return nil
	}
	h := &h2Peer{Framer: http2.NewFramer(p, p.Reader), Peer: p}
	h.encoder = hpack.NewEncoder(&h.block)
	h.AllowIllegalWrites = true
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = h.WriteSettings(settings...)
	return h
}

func (h *h2Peer) encode(pairs ...string) []byte {
	h.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = h.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(h.block.Bytes())
}

func (h *h2Peer) head(id uint32, end bool, pairs ...string) {
	block := h.encode(pairs...)
	first := block[:min(len(block), 16<<10)]
	_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(first) == len(block)})
	for block = block[len(first):]; len(block) > 0; {
		next := block[:min(len(block), 16<<10)]
		block = block[len(next):]
		_ = h.WriteContinuation(id, len(block) == 0, next)
	}
}

func (h *h2Peer) data(id uint32, end bool, text string) { _ = h.WriteData(id, end, []byte(text)) }

// answer gives a whole, good answer.
func (h *h2Peer) answer(id uint32, body string) {
	h.head(id, false, ":status", "200", "content-length", fmt.Sprint(len(body)))
	h.data(id, true, body)
}

// next returns the next frame that belongs to a stream, and nil at the end.
func (h *h2Peer) next() http2.Frame {
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			if err != io.EOF && !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "reset") {
				h.fault = err.Error()
			}
			return nil
		}
		if settings, is := frame.(*http2.SettingsFrame); is && !settings.IsAck() {
			_ = h.WriteSettingsAck()
		}
		if ping, is := frame.(*http2.PingFrame); is && !ping.IsAck() {
			_ = h.WritePing(true, ping.Data)
		}
		if frame.Header().StreamID != 0 {
			return frame
		}
	}
}

// request waits for the head of the next request and returns its stream and path; 0 when none comes.
func (h *h2Peer) request() (uint32, string) {
	for {
		frame := h.next()
		if frame == nil {
			return 0, ""
		}
		if head, is := frame.(*http2.MetaHeadersFrame); is {
			return head.StreamID, head.PseudoValue("path")
		}
	}
}

func pseudoFault(head *http2.MetaHeadersFrame) string {
	var pseudo []string
	for i, field := range head.Fields {
		if !field.IsPseudo() {
			continue
		}
		if i != len(pseudo) || slices.Contains(pseudo, field.Name) || field.Value == "" {
			return "pseudo fields"
		}
		pseudo = append(pseudo, field.Name)
	}
	slices.Sort(pseudo)
	if strings.Join(pseudo, " ") != ":authority :method :path :scheme" {
		return "pseudo fields " + strings.Join(pseudo, " ")
	}
	return ""
}

func fieldFault(field hpack.HeaderField) string {
	forbidden := []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "http2-settings"}
	switch {
	case !isToken(field.Name) || strings.ToLower(field.Name) != field.Name:
		return "name " + field.Name
	case slices.Contains(forbidden, field.Name):
		return "field " + field.Name
	case field.Name == "te" && field.Value != "trailers":
		return "te " + field.Value
	case strings.ContainsAny(field.Value, "\r\n\x00") || strings.Trim(field.Value, " \t") != field.Value:
		return fmt.Sprintf("value %q", field.Value)
	}
	return ""
}

// begun reads a head by the letter of RFC 9113, 8.
func begun(head *http2.MetaHeadersFrame) (r received, fault string) {
	if fault = pseudoFault(head); fault != "" {
		return r, fault
	}
	r = received{method: head.PseudoValue("method"), target: head.PseudoValue("path"), host: head.PseudoValue("authority")}
	for _, field := range head.RegularFields() {
		if fault := fieldFault(field); fault != "" {
			return r, fault
		}
		r.fields = append(r.fields, field.Name+": "+field.Value)
	}
	return r, ""
}

// lengthFault compares the length that was announced with what came.
func (r received) lengthFault() string {
	body, _, _ := strings.Cut(r.body, "|")
	if lengths := r.values("content-length"); len(lengths) > 1 || len(lengths) == 1 && lengths[0] != fmt.Sprint(len(body)) {
		return fmt.Sprintf("%d bytes, lengths %q", len(body), lengths)
	}
	return ""
}

// scriptH2 is the recorder as an HTTP/2 backend.
func (r *recorder) scriptH2(p *backend.Peer) {
	h := meet(p)
	if h == nil {
		return
	}
	calls := map[uint32]*received{}
	for frame := h.next(); frame != nil; frame = h.next() {
		r.change(func() { r.frame(h, calls, frame) })
	}
	r.change(func() {
		r.broken += len(calls)
		r.reading -= len(calls)
		if h.fault != "" {
			r.faults = append(r.faults, h.fault)
		}
	})
}

func (r *recorder) frame(h *h2Peer, calls map[uint32]*received, frame http2.Frame) {
	id, ended, fault := frame.Header().StreamID, false, ""
	call := calls[id]
	switch frame := frame.(type) {
	case *http2.MetaHeadersFrame:
		ended = frame.StreamEnded()
		if call == nil {
			call = &received{}
			*call, fault = begun(frame)
			calls[id] = call
			r.reading++
			break
		}
		for _, field := range frame.Fields {
			fault += fieldFault(field)
			call.body += "|" + field.Name + ": " + field.Value
		}
	case *http2.DataFrame:
		ended = frame.StreamEnded()
		if call != nil {
			call.body += string(frame.Data())
			if n := uint32(len(frame.Data())); n > 0 {
				_, _ = h.WriteWindowUpdate(0, n), h.WriteWindowUpdate(id, n)
			}
		}
	case *http2.RSTStreamFrame:
		if call != nil {
			delete(calls, id)
			r.reading--
			r.broken++
		}
		return
	}
	if fault != "" {
		r.faults = append(r.faults, fault)
	}
	if !ended || call == nil {
		return
	}
	if fault := call.lengthFault(); fault != "" {
		r.faults = append(r.faults, fault)
	}
	delete(calls, id)
	r.reading--
	r.requests = append(r.requests, *call)
	if call.method == "HEAD" {
		h.head(id, true, ":status", "200", "content-length", "2")
	} else {
		h.answer(id, "ok")
	}
}

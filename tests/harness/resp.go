package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A RedisError is an answer of a server that begins with `-`.
type RedisError string

func (e RedisError) Error() string { return string(e) }

// A resp is a client's connection to Redis that has one command under way at a time. It speaks RESP2, and knows
// nothing of what the gateway does on its own connections.
type resp struct {
	net.Conn
	reader *bufio.Reader
}

// NetworkOf tells what to dial for an address as configurations write it: 127.0.0.1:6379, unix:/path.
func NetworkOf(address string) (network, path string) {
	if path, found := strings.CutPrefix(address, "unix:"); found {
		return "unix", path
	}
	return "tcp", address
}

func dialRESP(address string) (*resp, error) {
	network, path := NetworkOf(address)
	conn, err := net.DialTimeout(network, path, Patience)
	if err != nil {
		return nil, err
	}
	return &resp{conn, bufio.NewReader(conn)}, nil
}

// ask sends a command and reads its answer: a string, an int64, nil or a []any; an error where the server says one.
func (c *resp) ask(words ...string) (any, error) {
	_ = c.SetDeadline(time.Now().Add(Patience))
	if _, err := io.WriteString(c, Command(words...)); err != nil {
		return nil, err
	}
	return ReadRESP(c.reader)
}

// Command writes a command as clients send it.
func Command(words ...string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(word), word)
	}
	return out.String()
}

// ReadRESP reads one value of RESP2: what servers answer, and what clients ask.
func ReadRESP(reader *bufio.Reader) (any, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || !strings.HasSuffix(line, "\r\n") {
		return nil, fmt.Errorf("no RESP: %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, RedisError(rest)
	}
	number, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("no RESP: %q", line)
	}
	switch {
	case kind == ':':
		return number, nil
	case number < 0 && (kind == '$' || kind == '*'):
		return nil, nil
	case kind == '$':
		text := make([]byte, number+2)
		_, err := io.ReadFull(reader, text)
		return string(text[:number]), err
	case kind == '*':
		return readList(reader, int(number))
	}
	return nil, fmt.Errorf("no RESP: %q", line)
}

// readList reads the elements of an array; an error among them stands where it was said.
func readList(reader *bufio.Reader, length int) (any, error) {
	list := make([]any, length)
	for i := range list {
		element, err := ReadRESP(reader)
		if said, ok := err.(RedisError); ok {
			element = said
		} else if err != nil {
			return nil, err
		}
		list[i] = element
	}
	return list, nil
}

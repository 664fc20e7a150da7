package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// http1 is one keep-alive connection, one request at a time.
type http1 struct {
	connection net.Conn
	in         *bufio.Reader
	request    []byte
	status     string
	length     int
	job        *job
	key        []byte // within the request, where it walks through many
}

func newHTTP1(connection net.Conn, job *job) *http1 {
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: tollgate-bench\r\nAccept: */*\r\n", job.path)
	// Thousands of connections share a megabyte: the load's own memory is not what is measured.
	h := &http1{
		connection: connection, in: bufio.NewReaderSize(connection, min(16<<10, 1<<20/job.connections+1<<10)),
		request: []byte(head + "\r\n"), status: " " + job.expect + " ", length: job.length, job: job,
	}
	if job.keys > 0 {
		h.request = []byte(head + "X-Key: 0000000000\r\n\r\n")
		h.key = h.request[len(head)+len("X-Key: "):][:10]
	}
	return h
}

// nextKey writes the number of the next key over the one before.
func (h *http1) nextKey() {
	number := h.job.nextKey.Add(1) % int64(h.job.keys)
	for at := len(h.key) - 1; at >= 0; at-- {
		h.key[at] = byte('0' + number%10)
		number /= 10
	}
}

var contentLength = []byte("content-length:")

// unit is one request and its whole answer.
func (h *http1) unit() error {
	if h.key != nil {
		h.nextKey()
	}
	if _, err := h.connection.Write(h.request); err != nil {
		return err
	}
	line, err := h.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.Contains(line, []byte(h.status)) {
		return fmt.Errorf("answered %q", line)
	}
	length := -1
	for {
		if line, err = h.in.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):])))
			if err != nil {
				return err
			}
		}
	}
	return h.body(length)
}

func (h *http1) body(length int) error {
	if length < 0 || h.length >= 0 && length != h.length {
		return fmt.Errorf("a body of %d bytes, not %d", length, h.length)
	}
	if buffered := h.in.Buffered(); length <= buffered {
		_, err := h.in.Discard(length)
		return err
	}
	_, err := io.CopyN(io.Discard, h.in, int64(length))
	return err
}

// keepAlive holds one connection and repeats; a connection that breaks off is an error, and made anew.
func keepAlive(job *job, sum *tally) {
	for !sum.in(stopped) {
		connection, err := job.dialer.dial()
		if err != nil {
			sum.fail(err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		job.opened(connection, sum)
		client := newHTTP1(connection, job)
		for !sum.in(stopped) {
			began := time.Now()
			if err := client.unit(); err != nil {
				sum.fail(err)
				break
			}
			sum.done(began)
		}
		connection.Close()
	}
}

// rotating opens connections until all stand, then gives a request to whichever connection has rested longest: the work
// under way is the same however many are open. One that breaks off is an error, and not made anew.
func rotating(job *job, sum *tally) {
	for job.dialled.Add(1) <= int64(job.connections) && !sum.in(stopped) {
		connection, err := job.dialer.dial()
		if err != nil {
			sum.fail(err)
			return
		}
		defer connection.Close()
		job.opened(connection, sum)
		job.rotation <- newHTTP1(connection, job)
	}
	for !sum.in(stopped) {
		client := <-job.rotation
		began := time.Now()
		if err := client.unit(); err != nil {
			sum.fail(err)
			return
		}
		sum.done(began)
		job.rotation <- client
	}
}

// fresh makes a connection for every request, resumed from the one before where asked and granted.
func fresh(job *job, sum *tally) {
	dialer := job.dialer
	if job.kind == "resumed" {
		dialer = dialer.resuming()
	}
	for !sum.in(stopped) {
		began := time.Now()
		connection, err := dialer.dial()
		if err == nil {
			err = newHTTP1(connection, job).unit()
			if connection.ConnectionState().DidResume && sum.in(counting) {
				sum.resumed.Add(1)
			}
			job.opened(connection, sum)
			connection.Close()
		}
		if err != nil {
			sum.fail(err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		sum.done(began)
	}
}

package main

import (
	"crypto/tls"
	"fmt"
	"time"
)

// idle opens connections, makes one request on each, and says what the gateway's memory grew by while they are held.
// A first lot is opened and closed again before, so that what the gateway sets up once is not counted.
func (j *job) idle() (map[string]any, error) {
	warm, _, err := j.hold(j.connections / 8)
	if err != nil {
		return nil, err
	}
	for _, connection := range warm {
		connection.Close()
	}
	time.Sleep(j.warm)
	before := residentKiB(j.watched["gateway"])
	held, first, err := j.hold(j.connections)
	if err != nil {
		return nil, err
	}
	time.Sleep(j.warm)
	after := residentKiB(j.watched["gateway"])
	for _, connection := range held {
		connection.Close()
	}
	return map[string]any{
		"units": len(held), "errors": 0, "tls": first, "resident_kib_before": before, "resident_kib": after,
		"kib_per_connection": float64(after-before) / float64(len(held)),
	}, nil
}

func (j *job) hold(count int) ([]*tls.Conn, *connectionFacts, error) {
	var held []*tls.Conn
	var first *connectionFacts
	for len(held) < count {
		connection, err := j.dialer.dial()
		if err != nil {
			return nil, nil, fmt.Errorf("connection %d: %w", len(held), err)
		}
		held = append(held, connection)
		if first == nil {
			if first, err = facts(connection); err != nil {
				return nil, nil, err
			}
		}
		if j.protocol == "h1" {
			err = newHTTP1(connection, j).unit()
		} else {
			err = once(connection, j)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("connection %d: %w", len(held), err)
		}
	}
	return held, first, nil
}

// once makes a single HTTP/2 request and leaves the connection open.
func once(connection *tls.Conn, j *job) error {
	sum := &tally{}
	client := newHTTP2(connection, j, sum)
	client.once = true
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	if err := client.conn.Run(); err != nil {
		return err
	}
	if sum.warmed.Load() != 1 {
		return fmt.Errorf("not answered as expected: %v", sum.causes)
	}
	return connection.SetDeadline(time.Time{})
}

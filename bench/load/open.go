package main

import (
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// schedule hands out the times at which requests are due, whether or not those before were answered.
type schedule struct {
	began time.Time
	every time.Duration
	next  int64
	due   chan time.Time
}

func newSchedule(rate int) *schedule {
	return &schedule{began: time.Now(), every: time.Second / time.Duration(rate), due: make(chan time.Time, 1<<16)}
}

func (s *schedule) step() time.Time {
	s.next++
	return s.began.Add(time.Duration(s.next) * s.every)
}

// run keeps time on a thread of its own: Go's timers wake up to a millisecond late, which is more than what is measured.
func (s *schedule) run(sum *tally) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer close(s.due)
	for !sum.in(stopped) {
		due := s.step()
		if wait := time.Until(due); wait > 0 {
			left := unix.NsecToTimespec(wait.Nanoseconds())
			_ = unix.Nanosleep(&left, nil)
		}
		s.due <- due
	}
}

func (j *job) connect(sum *tally) (net.Conn, error) {
	if j.plain {
		connection, err := net.DialTimeout("tcp", j.address, 10*time.Second)
		if err == nil {
			j.lock.Lock()
			defer j.lock.Unlock()
			j.live = append(j.live, connection)
		}
		return connection, err
	}
	connection, err := j.dialer.dial()
	if err != nil {
		return nil, err
	}
	j.opened(connection, sum)
	return connection, nil
}

// openLoop takes what is due next with whichever connection is free. Latency counts from when a request was due: one
// that found no connection free has waited, and says so.
func openLoop(job *job, sum *tally) {
	connection, err := job.connect(sum)
	if err != nil {
		sum.fail(err)
		return
	}
	defer connection.Close()
	unit := oneByOne(connection, job, sum)
	for due := range job.schedule.due {
		if sum.in(stopped) {
			return // what is late by then is nobody's any more
		}
		if err := unit(due); err != nil {
			sum.fail(err)
			return
		}
	}
}

func oneByOne(connection net.Conn, job *job, sum *tally) func(due time.Time) error {
	if job.protocol != "h1" {
		client := newHTTP2(connection, job, sum)
		client.byClock = true
		return client.unit
	}
	client := newHTTP1(connection, job)
	return func(due time.Time) error {
		err := client.unit()
		if err == nil {
			sum.done(due)
		}
		return err
	}
}

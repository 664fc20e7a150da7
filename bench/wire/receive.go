package wire

import (
	"encoding/binary"
	"fmt"
)

func (c *Conn) dispatch(kind, flags byte, id uint32, payload []byte) error {
	switch kind {
	case frameData:
		return c.data(flags, id, payload)
	case frameHeaders:
		return c.headers(flags, id, payload)
	case frameContinuation:
		c.head = append(c.head, payload...)
		if flags&flagEndHeaders == 0 {
			return nil
		}
		return c.headDone(id, c.head, c.headFlags)
	case frameSettings:
		return c.peerSettings(flags, payload)
	case framePing:
		if flags&flagAck == 0 {
			c.frame(framePing, flagAck, 0, payload)
		}
	case frameReset:
		if stream := c.streams[id]; stream != nil {
			c.Forget(stream)
			c.handler.Reset(stream, binary.BigEndian.Uint32(payload))
		}
	case frameWindowUpdate:
		c.peerWindow(id, int64(binary.BigEndian.Uint32(payload)))
	case frameGoAway:
		if code := binary.BigEndian.Uint32(payload[4:]); code != 0 || len(c.streams) == 0 {
			return fmt.Errorf("%w with code %d", ErrGoAway, code)
		}
	}
	return nil
}

func unpad(flags byte, payload []byte) []byte {
	if flags&flagPadded == 0 || len(payload) == 0 {
		return payload
	}
	return payload[1 : len(payload)-int(payload[0])]
}

func (c *Conn) headers(flags byte, id uint32, payload []byte) error {
	payload = unpad(flags, payload)
	if flags&flagPriority != 0 {
		payload = payload[5:]
	}
	if flags&flagEndHeaders == 0 {
		c.head = append(c.head[:0], payload...)
		c.headFlags = flags
		return nil
	}
	return c.headDone(id, payload, flags)
}

func (c *Conn) headDone(id uint32, block []byte, flags byte) error {
	c.fields = c.fields[:0]
	if _, err := c.decoder.Write(block); err != nil {
		return err
	}
	if err := c.decoder.Close(); err != nil {
		return err
	}
	stream := c.streams[id]
	if stream == nil {
		if c.next != 0 {
			return nil
		}
		stream = &Stream{ID: id, window: c.initial}
		c.streams[id] = stream
	}
	c.handler.Head(stream, c.fields, flags&flagEndStream != 0)
	return nil
}

func (c *Conn) data(flags byte, id uint32, payload []byte) error {
	c.received += len(payload)
	if c.received >= connectionWindow/2 {
		c.windowUpdate(0, c.received)
		c.received = 0
	}
	stream := c.streams[id]
	if stream == nil {
		return nil
	}
	end := flags&flagEndStream != 0
	stream.received += len(payload)
	if !end && stream.received >= streamWindow/2 {
		c.windowUpdate(id, stream.received)
		stream.received = 0
	}
	c.handler.Data(stream, unpad(flags, payload), end)
	return nil
}

func (c *Conn) peerSettings(flags byte, payload []byte) error {
	if flags&flagAck != 0 {
		return nil
	}
	for ; len(payload) >= 6; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingTableSize:
			c.encoder.SetMaxDynamicTableSize(min(value, 4096))
			c.generation++
		case settingInitialWindow:
			for _, stream := range c.streams {
				stream.window += int64(value) - c.initial
			}
			c.initial = int64(value)
			c.unblock()
		}
	}
	c.frame(frameSettings, flagAck, 0, nil)
	if !c.ready {
		c.ready = true
		c.handler.Ready()
	}
	return nil
}

func (c *Conn) peerWindow(id uint32, by int64) {
	if id == 0 {
		c.window += by
	} else if stream := c.streams[id]; stream != nil {
		stream.window += by
	}
	c.unblock()
}

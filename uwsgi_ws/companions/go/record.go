package uwsgi

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// protocolVersion is that of docs/companion-protocol.md which this module speaks.
const protocolVersion = 1

// The kinds of records. Those that both sides send mean the same in both directions, unless they say otherwise.
const (
	kindVersion     = 'V'
	kindRequest     = 'Q' // from the worker
	kindWant        = 'R' // to the worker: how much of the body
	kindBody        = 'B' // of the request, of the response
	kindHead        = 'S' // to the worker: status and headers
	kindFailed      = 'F' // from the worker: the body has failed
	kindEnd         = 'E' // to the worker
	kindHandshake   = 'H' // to the worker: how to accept; from it: whether that went well
	kindText        = 'T'
	kindBinary      = 'D'
	kindClose       = 'C'
	kindPing        = 'P' // to the worker: an id; from it: the id and the time that it took
	kindJoin        = 'J' // to the worker
	kindLeave       = 'L' // to the worker
	kindSubscribe   = 'I' // to the worker
	kindUnsubscribe = 'O' // to the worker
	kindPublish     = 'U' // to the worker
	kindMessage     = 'M' // from the worker: of a subscription
	kindCount       = 'N' // to the worker: a channel; from it: the number
)

// headSize is that of the kind and the length before each payload.
const headSize = 5

// ourLargest is the largest payload that this side takes: the server's limit on messages is below it, and a length
// beyond it is no length.
const ourLargest = 1<<31 - 1

// longestText is the longest name or value of a pair, and of a channel.
const longestText = 1<<16 - 1

// longestReason is that of a close (RFC 6455 5.5).
const longestReason = 123

// firstBuffer is what a stream that waits takes to read into; larger payloads get memory of their own.
const firstBuffer = 4096

// pieceSize bounds the memory that a length alone can ask for: a payload's place grows as its bytes come.
const pieceSize = 1 << 20

// A recordReader takes records from a stream of bytes.
type recordReader struct {
	source     io.Reader
	largest    uint32 // payload that is taken
	buffer     []byte
	start, end int // what has been read and not been taken
}

func newRecordReader(source io.Reader) recordReader {
	return recordReader{source: source, largest: ourLargest, buffer: make([]byte, firstBuffer)}
}

// next returns the next record, and io.EOF where the stream ends between two. The payload is the caller's until the
// next call; isOwn says that it is theirs for ever.
func (r *recordReader) next() (kind byte, payload []byte, isOwn bool, err error) {
	for r.end-r.start < headSize {
		if err := r.fill(); err != nil {
			if err == io.EOF && r.end > r.start {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, false, err
		}
	}
	kind = r.buffer[r.start]
	length := binary.BigEndian.Uint32(r.buffer[r.start+1:])
	if length > r.largest {
		return kind, nil, false, fmt.Errorf("the server sent a record %q that has %d bytes", kind, length)
	}
	r.start += headSize
	size := int(length)
	if size > len(r.buffer)-headSize {
		payload, err = r.large(size)
		return kind, payload, true, err
	}
	for r.end-r.start < size {
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return kind, nil, false, err
		}
	}
	payload = r.buffer[r.start : r.start+size : r.start+size]
	r.start += size
	return kind, payload, false, nil
}

// fill reads at least one byte more.
func (r *recordReader) fill() error {
	if r.start == r.end {
		r.start, r.end = 0, 0
	} else if r.end == len(r.buffer) {
		r.end = copy(r.buffer, r.buffer[r.start:r.end])
		r.start = 0
	}
	n, err := r.source.Read(r.buffer[r.end:])
	r.end += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (r *recordReader) large(size int) ([]byte, error) {
	first := size
	if first > pieceSize {
		first = pieceSize
	}
	payload := make([]byte, first)
	taken := copy(payload, r.buffer[r.start:r.end])
	r.start += taken
	for {
		if _, err := io.ReadFull(r.source, payload[taken:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		taken = len(payload)
		if taken == size {
			return payload, nil
		}
		more := taken // twice as much each time
		if more > size-taken {
			more = size - taken
		}
		grown := make([]byte, taken+more)
		copy(grown, payload)
		payload = grown
	}
}

// appendHead appends the head of a record.
func appendHead(out []byte, kind byte, size int) []byte {
	return append(out, kind, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

func appendRecord(out []byte, kind byte, payload []byte) []byte {
	return append(appendHead(out, kind, len(payload)), payload...)
}

func appendVersion(out []byte) []byte {
	out = appendHead(out, kindVersion, 6)
	out = append(out, 0, protocolVersion)
	return append(out, ourLargest>>24, ourLargest>>16&255, ourLargest>>8&255, ourLargest&255)
}

// A version is what the first record of either side says.
type version struct {
	number  uint16
	largest uint32
}

func parseVersion(payload []byte) (version, error) {
	if len(payload) != 6 {
		return version{}, malformed(kindVersion, payload)
	}
	return version{binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:])}, nil
}

// parseClose returns code and reason of the record that ends a WebSocket.
func parseClose(payload []byte) (*CloseError, error) {
	if len(payload) < 2 {
		return nil, malformed(kindClose, payload)
	}
	return &CloseError{Code: int(binary.BigEndian.Uint16(payload)), Reason: string(payload[2:])}, nil
}

// parsePing returns the number of a ping and how long the client took to answer; a negative time where it did not.
func parsePing(payload []byte) (id uint64, took time.Duration, err error) {
	if len(payload) != 16 {
		return 0, 0, malformed(kindPing, payload)
	}
	seconds := math.Float64frombits(binary.BigEndian.Uint64(payload[8:]))
	took = -1
	if seconds >= 0 { // it may be NaN
		took = time.Duration(seconds * float64(time.Second))
	}
	return binary.BigEndian.Uint64(payload), took, nil
}

// parseCount returns the tag of a count and the number.
func parseCount(payload []byte) (tag uint32, number int, err error) {
	if len(payload) != 8 {
		return 0, 0, malformed(kindCount, payload)
	}
	return binary.BigEndian.Uint32(payload), int(binary.BigEndian.Uint32(payload[4:])), nil
}

// parseMessage returns what a record of a subscription holds; data is a part of payload.
func parseMessage(payload []byte) (channel, data []byte, isBinary bool, err error) {
	if len(payload) >= 2 {
		size := int(binary.BigEndian.Uint16(payload))
		if len(payload) >= size+3 {
			channel, data = payload[2:2+size], payload[size+3:]
			switch payload[2+size] {
			case kindText:
				return channel, data, false, nil
			case kindBinary:
				return channel, data, true, nil
			}
		}
	}
	return nil, nil, false, malformed(kindMessage, payload)
}

// appendMessage appends a record to publish.
func appendMessage(out []byte, channel string, kind byte, flags byte, data string) []byte {
	out = appendHead(out, kindPublish, 2+len(channel)+2+len(data))
	out = append(out, byte(len(channel)>>8), byte(len(channel)))
	out = append(out, channel...)
	out = append(out, kind, flags)
	return append(out, data...)
}

// parseVars returns the variables of a uwsgi packet: modifier1, size (little-endian), modifier2, and pairs.
func parseVars(packet []byte) (map[string]string, error) {
	if len(packet) < 4 || int(binary.LittleEndian.Uint16(packet[1:])) != len(packet)-4 {
		return nil, malformed(kindRequest, packet)
	}
	vars := make(map[string]string, 32)
	// One string for all: each variable is a part of it.
	rest := string(packet[4:])
	for rest != "" {
		var name, value string
		var ok bool
		if name, rest, ok = cutSized(rest); ok {
			value, rest, ok = cutSized(rest)
		}
		if !ok || name == "" {
			return nil, malformed(kindRequest, packet)
		}
		vars[name] = value
	}
	return vars, nil
}

func cutSized(text string) (first, rest string, ok bool) {
	if len(text) < 2 {
		return "", "", false
	}
	size := int(text[0]) | int(text[1])<<8
	if len(text)-2 < size {
		return "", "", false
	}
	return text[2 : 2+size], text[2+size:], true
}

// appendPair appends a name and a value as uwsgi packets hold them.
func appendPair(out []byte, name, value string) []byte {
	out = append(out, byte(len(name)), byte(len(name)>>8))
	out = append(out, name...)
	out = append(out, byte(len(value)), byte(len(value)>>8))
	return append(out, value...)
}

// malformed is the error of a record that does not hold what its kind must.
func malformed(kind byte, payload []byte) error {
	const shown = 60
	if len(payload) > shown {
		payload = payload[:shown]
	}
	return fmt.Errorf("the server sent a record %q that is malformed: %q", kind, payload)
}

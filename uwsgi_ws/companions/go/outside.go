package uwsgi

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// channelSocket names the variable with the address of the server's socket for publishers.
const channelSocket = "UWSGI_WS_CHANNEL_SOCKET"

// outsideTimeout is how long publishing outside of a request may take, where the context says nothing.
const outsideTimeout = 5 * time.Second

// publishOutside publishes as any other program on this machine does (docs: --channel-socket).
func publishOutside(ctx context.Context, channel string, kind byte, data string) error {
	address := os.Getenv(channelSocket)
	if address == "" {
		return errors.New("uwsgi: publishing outside of a request needs the server's --channel-socket")
	}
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, outsideTimeout)
		defer cancel()
		ctx = limited
	}
	answer, err := tell(ctx, address, publisherRecord(channel, kind, data))
	if err != nil {
		return fmt.Errorf("uwsgi: cannot publish to %s: %w", address, err)
	}
	if answer != "ok" {
		if answer = strings.TrimPrefix(answer, "error "); answer == "" {
			answer = "it gave no answer"
		}
		return fmt.Errorf("uwsgi: cannot publish to %s: %s", address, answer)
	}
	return nil
}

// publisherRecord returns opcode, sizes of name and payload (little-endian), name and payload.
func publisherRecord(channel string, kind byte, data string) []byte {
	opcode := byte(1)
	if kind == kindBinary {
		opcode = 2
	}
	out := make([]byte, 0, 7+len(channel)+len(data))
	out = binary.LittleEndian.AppendUint16(append(out, opcode), uint16(len(channel)))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	return append(append(out, channel...), data...)
}

// tell sends a record and returns the line that answers it.
func tell(ctx context.Context, address string, record []byte) (string, error) {
	var dialer net.Dialer
	// Go spells the abstract namespace as the server does, with an @.
	conn, err := dialer.DialContext(ctx, "unix", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-ctx.Done():
			conn.SetDeadline(time.Unix(1, 0))
		case <-stop:
		}
	}()
	// A record that is refused before it has all come: the answer says why.
	_, failed := conn.Write(record)
	line, err := bufio.NewReader(io.LimitReader(conn, 4096)).ReadString('\n')
	if line == "" && failed != nil {
		return "", failed
	}
	if line == "" && err != io.EOF {
		return "", err
	}
	return strings.TrimSuffix(line, "\n"), nil
}

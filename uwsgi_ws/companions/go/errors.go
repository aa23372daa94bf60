package uwsgi

import "fmt"

// A CloseError says how a WebSocket has ended: with the code and the reason of the client, or of the server where that
// closed it. The code is 1006 where the connection broke off.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("uwsgi: the WebSocket is closed: %d", e.Code)
	}
	return fmt.Sprintf("uwsgi: the WebSocket is closed: %d %q", e.Code, e.Reason)
}

// A HandshakeError says why a request cannot become a WebSocket.
type HandshakeError struct {
	Cause string
}

func (e *HandshakeError) Error() string { return "uwsgi: no WebSocket: " + e.Cause }

// A TooLongError is that of a message, or of another record, that is longer than the server takes; nothing was sent.
type TooLongError struct {
	Size, Limit int
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("uwsgi: %d bytes are too long for the server, which takes %d", e.Size, e.Limit)
}

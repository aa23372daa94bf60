package uwsgi

// A Message is one whole message of a WebSocket or of a channel.
type Message struct {
	Data   []byte // the receiver's to keep; UTF-8 unless Binary
	Binary bool
}

// Text returns the message as a string.
func (m Message) Text() string { return string(m.Data) }

// A queue holds messages that wait, the oldest first.
type queue struct {
	messages []Message // those before first are taken
	first    int
	bytes    int // all of them, with what each takes beside its payload
}

func (q *queue) isEmpty() bool { return q.first == len(q.messages) }

func (q *queue) push(message Message) {
	if len(q.messages) == cap(q.messages) && q.first > len(q.messages)/2 {
		left := copy(q.messages, q.messages[q.first:])
		for i := left; i < len(q.messages); i++ {
			q.messages[i] = Message{}
		}
		q.messages, q.first = q.messages[:left], 0
	}
	q.messages = append(q.messages, message)
	q.bytes += len(message.Data) + messageOverhead
}

func (q *queue) pop() Message {
	message := q.messages[q.first]
	q.messages[q.first] = Message{}
	q.first++
	q.bytes -= len(message.Data) + messageOverhead
	if q.isEmpty() {
		q.messages, q.first = q.messages[:0], 0
		if cap(q.messages) > 64 {
			q.messages = nil
		}
	}
	return message
}

package uwsgi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

const vectors = "../../../tests/vectors/companion"

type vector struct {
	From    string
	Hex     string
	Records []map[string]any
	Limit   uint32
}

// eachVector runs a test for the files of a folder that one of the two sides sends.
func eachVector(t *testing.T, folder, from string, test func(*testing.T, vector, []byte)) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(vectors, folder, "*.json"))
	ran := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(file, err)
		}
		if v.From != from {
			continue
		}
		ran++
		data, err := hex.DecodeString(v.Hex)
		if err != nil {
			t.Fatal(file, err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) { test(t, v, data) })
	}
	if ran == 0 {
		t.Fatal("no vectors in ", filepath.Join(vectors, folder))
	}
}

func TestVectorsOfTheWorkerMeanWhatTheySay(t *testing.T) {
	eachVector(t, "valid", "worker", func(t *testing.T, v vector, data []byte) {
		reader := newRecordReader(bytes.NewReader(data))
		for _, want := range v.Records {
			kind, payload, _, err := reader.next()
			if err != nil {
				t.Fatal(err)
			}
			got, err := meaning(kind, payload, want)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
		if kind, _, _, err := reader.next(); err != io.EOF {
			t.Fatal("a further record", kind, err)
		}
	})
}

// meaning returns a record as the vectors say it.
func meaning(kind byte, payload []byte, want map[string]any) (map[string]any, error) {
	got := map[string]any{"type": string(rune(kind))}
	switch kind {
	case kindVersion:
		version, err := parseVersion(payload)
		got["version"], got["largest"] = float64(version.number), float64(version.largest)
		return got, err
	case kindRequest:
		vars, err := parseVars(payload)
		if err != nil {
			return nil, err
		}
		// A map knows no order: it is compared with the pairs as one, and the pairs are returned.
		asMap := map[string]string{}
		for _, pair := range want["variables"].([]any) {
			asMap[bytesOf(pair.([]any)[0])] = bytesOf(pair.([]any)[1])
		}
		if !reflect.DeepEqual(vars, asMap) {
			return nil, fmt.Errorf("got %v", vars)
		}
		got["modifier1"], got["variables"] = float64(payload[0]), want["variables"]
		return got, nil
	case kindClose:
		closed, err := parseClose(payload)
		if err != nil {
			return nil, err
		}
		got["code"], got["reason"] = float64(closed.Code), closed.Reason
		return got, nil
	case kindPing:
		id, took, err := parsePing(payload)
		got["number"], got["seconds"] = float64(id), took.Seconds()
		if took < 0 {
			got["seconds"] = nil
		}
		return got, err
	case kindCount:
		tag, number, err := parseCount(payload)
		got["tag"], got["number"] = float64(tag), float64(number)
		return got, err
	case kindMessage:
		channel, data, isBinary, err := parseMessage(payload)
		got["channel"], got["data"], got["opcode"] = latin1(channel), latin1(data), "T"
		if isBinary {
			got["opcode"] = "D"
		}
		return got, err
	case kindFailed, kindHandshake:
		got["text"] = string(payload)
	default:
		got["data"] = latin1(payload)
	}
	return got, nil
}

func latin1(data []byte) string {
	runes := make([]rune, len(data))
	for i, c := range data {
		runes[i] = rune(c)
	}
	return string(runes)
}

func bytesOf(latin1 any) string {
	var data []byte
	for _, r := range latin1.(string) {
		data = append(data, byte(r))
	}
	return string(data)
}

func TestInvalidVectorsOfTheWorkerAreRefused(t *testing.T) {
	eachVector(t, "invalid", "worker", func(t *testing.T, v vector, data []byte) {
		reader := newRecordReader(bytes.NewReader(data))
		reader.largest = 1 << 20
		if v.Limit != 0 {
			reader.largest = v.Limit
		}
		kind, payload, _, err := reader.next()
		if err == nil {
			switch kind {
			case kindVersion:
				_, err = parseVersion(payload)
			case kindRequest:
				_, err = parseVars(payload)
			default:
				// It has asked for all that there is.
				s := &stream{bodyState: bodyAsked, handshake: handshakeAsked}
				err = s.take(kind, payload)
			}
		}
		if err == nil || isDisconnect(err) {
			t.Fatalf("%q %q: %v", kind, payload, err)
		}
	})
}

func TestWeWriteWhatTheVectorsSay(t *testing.T) {
	eachVector(t, "valid", "companion", func(t *testing.T, v vector, data []byte) {
		var out []byte
		for _, record := range v.Records {
			out = appendMeaning(t, out, record)
		}
		if !bytes.Equal(out, data) {
			t.Fatalf("got %x, want %x", out, data)
		}
	})
}

func appendMeaning(t *testing.T, out []byte, record map[string]any) []byte {
	kind := record["type"].(string)[0]
	number := func(key string, size int) []byte {
		value := uint64(record[key].(float64))
		var bytes []byte
		for size--; size >= 0; size-- {
			bytes = append(bytes, byte(value>>(8*size)))
		}
		return bytes
	}
	switch kind {
	case kindVersion:
		if record["version"] == float64(protocolVersion) && record["largest"] == float64(ourLargest) {
			return appendVersion(out)
		}
		return appendRecord(out, kind, append(number("version", 2), number("largest", 4)...))
	case kindHead, kindHandshake:
		var block []byte
		for _, pair := range record["pairs"].([]any) {
			block = appendPair(block, bytesOf(pair.([]any)[0]), bytesOf(pair.([]any)[1]))
		}
		return appendRecord(out, kind, block)
	case kindWant:
		return appendRecord(out, kind, number("size", 4))
	case kindClose:
		return appendRecord(out, kind, append(number("code", 2), record["reason"].(string)...))
	case kindPing:
		return appendRecord(out, kind, number("number", 8))
	case kindPublish:
		flags := byte(record["flags"].(float64))
		return appendMessage(out, bytesOf(record["channel"]), record["opcode"].(string)[0], flags, bytesOf(record["data"]))
	case kindCount:
		return appendRecord(out, kind, append(number("tag", 4), bytesOf(record["channel"])...))
	case kindEnd, 'G':
		return appendRecord(out, kind, []byte(record["text"].(string)))
	}
	return appendRecord(out, kind, []byte(bytesOf(record["data"])))
}

// FuzzRecords: any bytes, cut anywhere, are records or an error; those that were read mean the same bytes again.
func FuzzRecords(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(vectors, "*", "*.json"))
	for _, file := range files {
		var v vector
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &v) == nil {
			if data, err := hex.DecodeString(v.Hex); err == nil {
				f.Add(data, uint16(3))
			}
		}
	}
	f.Add(append(appendHead(nil, kindText, firstBuffer), make([]byte, firstBuffer)...), uint16(4000))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		reader := newRecordReader(&pieces{data, int(cut) + 1})
		var again []byte
		for {
			kind, payload, _, err := reader.next()
			if err != nil {
				break
			}
			again = appendRecord(again, kind, payload)
			parseAny(kind, payload)
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatalf("%x became %x", data, again)
		}
	})
}

func parseAny(kind byte, payload []byte) {
	switch kind {
	case kindVersion:
		parseVersion(payload)
	case kindRequest:
		parseVars(payload)
	default:
		s := &stream{bodyState: bodyAsked, handshake: handshakeAsked, cancel: func() {},
			pings: map[uint64]time.Duration{0: pending}, counts: map[uint32]int{0: pending}}
		s.take(kind, payload)
	}
}

// Pieces gives bytes so many at a time.
type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(into []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	if len(into) > p.size {
		into = into[:p.size]
	}
	n := copy(into, p.data)
	p.data = p.data[n:]
	return n, nil
}

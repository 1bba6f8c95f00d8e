// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"bavard/internal/journal/batchpb"
)

func sampleBatches() []batch {
	return []batch{
		{writer: "a", incarnation: 1, counter: 1},
		{writer: "node-1", incarnation: 1 << 63, counter: 300, previous: 1 << 40, replaced: 7, commands: [][]byte{[]byte("x"), {}, bytes.Repeat([]byte("y"), 300)}},
	}
}

// TestBatchIsProtobuf holds the hand-written codec against the generated one.
func TestBatchIsProtobuf(t *testing.T) {
	for _, b := range sampleBatches() {
		value := b.encode()
		var record batchpb.Record
		var payload batchpb.Payload
		if err := proto.Unmarshal(value, &record); err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(record.Payload, &payload); err != nil {
			t.Fatal(err)
		}
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(&payload)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, record.Payload) {
			t.Errorf("payload %x, generated code writes %x", record.Payload, again)
		}
		if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(&record); err != nil || !bytes.Equal(again, value) {
			t.Errorf("record %x, generated code writes %x, %v", value, again, err)
		}
		if cap(value) != len(value) {
			t.Errorf("%d bytes in a buffer of %d", len(value), cap(value))
		}
	}
}

func TestBatchRoundTrip(t *testing.T) {
	for _, b := range sampleBatches() {
		value := b.encode()
		got, err := decodeBatch(value)
		if err != nil || !equalBatches(got, b) {
			t.Errorf("decoded %+v, %v, want %+v", got, err, b)
		}
		for i := range value { // each bit counts
			for bit := range 8 {
				bad := bytes.Clone(value)
				bad[i] ^= 1 << bit
				if got, err := decodeBatch(bad); err == nil && !equalBatches(got, b) {
					t.Fatalf("bit %d of byte %d flipped: decoded %+v", bit, i, got)
				}
			}
		}
		for n := range value {
			if _, err := decodeBatch(value[:n]); err == nil {
				t.Fatalf("cut after %d of %d bytes: decoded", n, len(value))
			}
		}
	}
}

func TestLargestBatchFits(t *testing.T) {
	b := batch{
		writer: string(bytes.Repeat([]byte("w"), maxWriter)), incarnation: 1 << 63, counter: 1 << 63,
		previous: 1 << 63, replaced: 1 << 63,
	}
	size := batchOverhead
	for size+commandCost(1000) <= MaxBatch {
		b.commands = append(b.commands, make([]byte, 1000))
		size += commandCost(1000)
	}
	if n := len(b.encode()); n > MaxBatch {
		t.Errorf("%d bytes, more than %d", n, MaxBatch)
	}
}

func equalBatches(a, b batch) bool {
	if a.writer != b.writer || a.incarnation != b.incarnation || a.counter != b.counter ||
		a.previous != b.previous || a.replaced != b.replaced || len(a.commands) != len(b.commands) {
		return false
	}
	for i := range a.commands {
		if !bytes.Equal(a.commands[i], b.commands[i]) {
			return false
		}
	}
	return true
}

// FuzzDecodeBatch: no input panics, and what decodes means the same after it is
// encoded again.
func FuzzDecodeBatch(f *testing.F) {
	for _, b := range sampleBatches() {
		f.Add(b.encode())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := decodeBatch(value)
		if err != nil {
			return
		}
		again, err := decodeBatch(got.encode())
		if err != nil || !equalBatches(got, again) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

// FuzzDecodePayload goes past the checksum.
func FuzzDecodePayload(f *testing.F) {
	for _, b := range sampleBatches() {
		f.Add(b.encode()[12:])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := decodePayload(payload)
		if err != nil {
			return
		}
		var generated batchpb.Payload
		if err := proto.Unmarshal(payload, &generated); err != nil {
			return // it also refuses names that are not UTF-8, and odd wire types
		}
		want := batch{
			writer: generated.Writer, incarnation: generated.Incarnation, counter: generated.Counter,
			previous: generated.Previous, replaced: generated.Replaced, commands: generated.Commands,
		}
		if len(generated.ProtoReflect().GetUnknown()) == 0 && !equalBatches(got, want) {
			t.Fatalf("decoded %+v, generated code %+v", got, want)
		}
	})
}

// FuzzReadRecord: no bytes panic, and what is read is what was written.
func FuzzReadRecord(f *testing.F) {
	f.Add(appendRecord(nil, 7, []byte("value")), uint8(0))
	f.Add(appendSegmentHeader(nil, journalID{1}, 9), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, offset uint8) {
		_, _, _ = parseSegmentHeader(data)
		at := int64(offset)
		revision, value, _, err := readRecord(bytes.NewReader(data), at, nil)
		if err != nil {
			return
		}
		written := appendRecord(nil, revision, value)
		if !bytes.Equal(written, data[at:at+int64(len(written))]) {
			t.Fatalf("read revision %d and %d bytes from %x", revision, len(value), data)
		}
	})
}

func TestSequence(t *testing.T) {
	type step struct {
		revision, incarnation, counter, previous uint64
		writer                                   string
	}
	tests := []struct {
		name  string
		start uint64
		steps []step
		ok    bool
	}{
		{"two writers", 0, []step{{2, 1, 1, 0, "a"}, {3, 9, 1, 0, "b"}, {5, 1, 2, 2, "a"}, {6, 9, 2, 3, "b"}}, true},
		{"started in the middle", 10, []step{{11, 1, 7, 9, "a"}, {12, 1, 8, 11, "a"}}, true},
		{"a new incarnation", 10, []step{{11, 1, 7, 9, "a"}, {12, 2, 1, 11, "a"}, {13, 2, 2, 12, "a"}}, true},
		{"the first one is missing", 10, []step{{13, 1, 8, 11, "a"}}, false},
		{"one is missing", 0, []step{{2, 1, 1, 0, "a"}, {4, 1, 3, 3, "a"}}, false},
		{"a counter is missing", 0, []step{{2, 1, 1, 0, "a"}, {4, 1, 3, 2, "a"}}, false},
		{"repeated", 0, []step{{2, 1, 1, 0, "a"}, {2, 1, 1, 0, "a"}}, false},
		{"repeated later", 0, []step{{2, 1, 1, 0, "a"}, {3, 1, 1, 0, "a"}}, false},
		{"backwards", 0, []step{{5, 1, 1, 0, "a"}, {4, 1, 1, 0, "b"}}, false},
		{"an incarnation that starts late", 0, []step{{2, 1, 1, 0, "a"}, {3, 2, 2, 2, "a"}}, false},
		{"its own predecessor", 3, []step{{4, 1, 1, 4, "a"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSequence(tt.start)
			for i, st := range tt.steps {
				b := batch{writer: st.writer, incarnation: st.incarnation, counter: st.counter, previous: st.previous}
				err := s.check(st.revision, &b)
				if want := tt.ok || i < len(tt.steps)-1; (err == nil) != want {
					t.Fatalf("step %d: %v", i, err)
				}
				var damage *Damage
				if err != nil && (!errors.As(err, &damage) || damage.Revision != st.revision) {
					t.Errorf("error %v", err)
				}
			}
		})
	}
}

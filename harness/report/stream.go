package report

import (
	"encoding/json"
	"io"

	"proxyproof/harness/event"
)

// Stream writes every event as a line of JSON, as it comes.
type Stream struct {
	encoder *json.Encoder
	err     error
}

// NewStream writes to w.
func NewStream(w io.Writer) *Stream { return &Stream{encoder: json.NewEncoder(w)} }

// Start has nothing to write.
func (s *Stream) Start([]Case) {}

// Notice has nothing to write.
func (s *Stream) Notice(string) {}

// Event writes the line.
func (s *Stream) Event(e event.Event) {
	if err := s.encoder.Encode(e); err != nil && s.err == nil {
		s.err = err
	}
}

// Ended has nothing to write: the verdict was an event.
func (s *Stream) Ended(Outcome) {}

// Finish reports the first failure to write.
func (s *Stream) Finish(Summary) error { return s.err }

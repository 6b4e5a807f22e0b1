// Package wire is what the orchestrator on the host and a worker say to each other: framed messages over any pipe, be it a
// child's standard streams or a VM's virtio-serial port.
//
// A frame is a 4-byte big-endian length, one byte that tells the type, and a payload of length-1 bytes: JSON, or raw bytes for
// the contents of files.
package wire

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"proxyproof/harness/event"
	"proxyproof/harness/scenario"
	"proxyproof/harness/subject"
	"proxyproof/sim/netstate"
)

// Version of the protocol. Both ends come from the same binary, so a mismatch is a stale worker.
const Version = 5

// BeatInterval is the time between signs of life.
const BeatInterval = time.Second

// maxFrame bounds a frame; files travel in chunks below it.
const maxFrame = 16 << 20

// Type tells what a frame carries.
type Type byte

// From the orchestrator to the worker.
const (
	TypePut    Type = 'P' // Put: a file follows in TypeChunk frames
	TypeChunk  Type = 'C' // raw bytes of the file that was announced last
	TypeDrop   Type = 'D' // Drop, also of a file that will not be whole
	TypeRun    Type = 'R' // Job
	TypeCancel Type = 'X' // Cancel
	TypeExec   Type = 'E' // Exec
	TypeHost   Type = 'H' // Host, every BeatInterval, to a worker whose machine is a VM
)

// From the worker to the orchestrator.
const (
	TypeHello  Type = 'h' // Hello, the first message
	TypeStored Type = 's' // Stored: a file has arrived whole
	TypeEvent  Type = 'e' // event.Event
	TypeDone   Type = 'd' // Done: a case or a command has ended; nothing of it follows
	TypeOutput Type = 'o' // Output of a command
	TypeBeat   Type = 'b' // Beat, every BeatInterval
)

// Hello introduces a worker.
type Hello struct {
	Version int    `json:"version"`
	Kernel  string `json:"kernel"`
	CPUs    int    `json:"cpus"`
	// Speed is how many times slower this machine is than the one that budgets were made for; at least 1.
	Speed float64 `json:"speed"`
	// Lacks maps a world.Capability to the reason why this worker does not have it.
	Lacks map[string]string `json:"lacks,omitempty"`
}

// Beat is a sign of life, and tells how much room the machine has for more.
type Beat struct {
	// Idle is the part of its processors' time that the machine did not use since the last beat, from 0 to 1.
	Idle float64 `json:"idle"`
	// Free is the memory that more processes can have, in bytes.
	Free int64 `json:"free"`
}

// Host is what the host's scheduler reports of the worker's VM, which cannot measure that itself.
type Host struct {
	// Scheduled is the part of the last interval in which the VM had the processors that it wanted, from 0 to 1.
	Scheduled float64 `json:"scheduled"`
}

// Put announces a file of Size bytes whose SHA-256 is Hash (hex), to which the sender has seen.
type Put struct {
	Hash string `json:"hash"`
	Size int64  `json:"size"`
}

// Stored acknowledges a file.
type Stored struct {
	Hash  string `json:"hash"`
	Error string `json:"error,omitempty"`
}

// Drop says that a file is not needed any more.
type Drop struct {
	Hash string `json:"hash"`
}

// Job is one case to be run.
type Job struct {
	// ID names the case in every event: "scenario/family@subject".
	ID       string             `json:"id"`
	Scenario *scenario.Scenario `json:"scenario"`
	Family   scenario.FamilySet `json:"family"`
	Seed     uint64             `json:"seed"`
	Backend  netstate.Backend   `json:"backend"`
	Subject  Subject            `json:"subject"`
	// Other is the build that the scenario swaps the subject for; nil if none was given.
	Other *Subject `json:"other,omitempty"`
	// Perturb is what is done after each step, or at the end, that must change nothing.
	Perturb []scenario.Perturbation `json:"perturb,omitempty"`
}

// Subject is the proxy under test as the worker needs to know it.
type Subject struct {
	// Profile is "reference", "kube-router" or "exec".
	Profile string `json:"profile"`
	Version string `json:"version,omitempty"`
	// Binary is the hash of the executable.
	Binary string `json:"binary"`
	// Args precede those that the profile makes.
	Args []string `json:"args,omitempty"`
	// Definition of an exec subject.
	Definition *subject.Definition `json:"definition,omitempty"`
}

// Title is how findings call the subject.
func (s Subject) Title() string {
	if s.Definition != nil {
		return s.Definition.Name
	}
	return s.Profile
}

// Cancel asks for the end of a case or command. Its Done still comes.
type Cancel struct {
	ID string `json:"id"`
}

// Exec runs a stored file as a command in the worker's machine, outside of any world: for test binaries.
type Exec struct {
	ID     string `json:"id"`
	Binary string `json:"binary"`
	// Files lie beside the command, in its working directory: stored files by their names there.
	Files map[string]string `json:"files,omitempty"`
	Args  []string          `json:"args,omitempty"`
	Env   []string          `json:"env,omitempty"`
	Limit time.Duration     `json:"limit"`
}

// Output is what a command printed.
type Output struct {
	ID   string `json:"id"`
	Data []byte `json:"data"`
}

// Done ends a case or a command.
type Done struct {
	ID string `json:"id"`
	// Exit is the exit code of a command.
	Exit int `json:"exit,omitempty"`
	// Error is trouble of the worker's own.
	Error string `json:"error,omitempty"`
}

// Conn sends and receives frames. Send is safe for concurrent use, Receive is not.
type Conn struct {
	r    *bufio.Reader
	lock sync.Mutex
	w    io.Writer
}

// New makes a connection of a stream.
func New(rw io.ReadWriter) *Conn {
	return &Conn{r: bufio.NewReaderSize(rw, 64<<10), w: rw}
}

// Send writes one message: []byte as it is, everything else as JSON.
func (c *Conn) Send(t Type, message any) error {
	payload, raw := message.([]byte)
	if !raw {
		var err error
		if payload, err = json.Marshal(message); err != nil {
			return fmt.Errorf("encode %c message: %w", t, err)
		}
	}
	if len(payload)+1 > maxFrame {
		return fmt.Errorf("send %c message: %d bytes are more than a frame can hold", t, len(payload))
	}
	frame := make([]byte, 5, 5+len(payload))
	binary.BigEndian.PutUint32(frame, uint32(len(payload)+1))
	frame[4] = byte(t)
	frame = append(frame, payload...)

	c.lock.Lock()
	defer c.lock.Unlock()
	if _, err := c.w.Write(frame); err != nil {
		return fmt.Errorf("send %c message: %w", t, err)
	}
	return nil
}

// Receive reads one frame. At the end of the stream the error is io.EOF.
func (c *Conn) Receive() (Type, []byte, error) {
	var header [5]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(header[:4])
	if length < 1 || length > maxFrame {
		return 0, nil, fmt.Errorf("receive: a frame of %d bytes: the stream is out of step", length)
	}
	payload := make([]byte, length-1)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, fmt.Errorf("receive %c message: %w", header[4], err)
	}
	return Type(header[4]), payload, nil
}

// Decode reads the JSON payload of a message.
func Decode[T any](payload []byte) (T, error) {
	var message T
	if err := json.Unmarshal(payload, &message); err != nil {
		return message, fmt.Errorf("decode %T message: %w", message, err)
	}
	return message, nil
}

// SendEvent sends an event.
func (c *Conn) SendEvent(e event.Event) error { return c.Send(TypeEvent, e) }

// chunk is how much of a file travels in one frame.
const chunk = 1 << 20

// SendFile announces and sends a file, which the receiver has whole or not at all. The sender sees to the hash: an emulated machine would take
// seconds for that, and a stream does not change bytes, but files are rebuilt while they are read.
func (c *Conn) SendFile(hash string, size int64, content io.Reader) error {
	if err := c.Send(TypePut, Put{hash, size}); err != nil {
		return err
	}
	if err := c.sendContent(hash, size, content); err != nil {
		return errors.Join(fmt.Errorf("file %.12s: %w", hash, err), c.Send(TypeDrop, Drop{hash}))
	}
	return nil
}

// sendContent sends the last bytes only if all of them have the hash.
func (c *Conn) sendContent(hash string, size int64, content io.Reader) error {
	sum := sha256.New()
	buffer := make([]byte, chunk)
	for left := size; left > 0; {
		n := min(left, chunk)
		if _, err := io.ReadFull(content, buffer[:n]); err != nil {
			return fmt.Errorf("read it: %w", err)
		}
		sum.Write(buffer[:n])
		left -= n
		if left == 0 && hex.EncodeToString(sum.Sum(nil)) != hash {
			return errors.New("it changed while it was read")
		}
		if err := c.Send(TypeChunk, buffer[:n]); err != nil {
			return err
		}
	}
	return nil
}

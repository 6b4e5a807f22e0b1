package worker

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"proxyproof/harness/wire"
)

// store keeps the files that the orchestrator pushed, by content hash. They live in anonymous memory, so they are gone with
// the worker, however it ends, and no file system of the host ever sees them.
type store struct {
	pending *pendingFile // only the receiving goroutine uses it

	lock  sync.Mutex
	files map[string]*os.File
}

// pendingFile is a file that is being received.
type pendingFile struct {
	put  wire.Put
	file *os.File
	left int64
}

func newStore() *store { return &store{files: map[string]*os.File{}} }

// path is where the file with that hash can be executed from, by any process in any mount namespace of this machine.
func (s *store) path(hash string) (string, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	file, ok := s.files[hash]
	if !ok {
		return "", fmt.Errorf("file %.12s was never pushed to this worker", hash)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()), nil
}

// drop forgets a file, be it whole or not.
func (s *store) drop(hash string) {
	if p := s.pending; p != nil && p.put.Hash == hash {
		s.pending = nil
		p.file.Close()
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if file, ok := s.files[hash]; ok {
		file.Close()
		delete(s.files, hash)
	}
}

// begin prepares for a file. The answer is nil until it is complete.
func (s *store) begin(put wire.Put) *wire.Stored {
	if s.pending != nil {
		return &wire.Stored{Hash: put.Hash, Error: "another file is still being received"}
	}
	fd, err := unix.MemfdCreate(fmt.Sprintf("%.12s", put.Hash), unix.MFD_CLOEXEC)
	if err != nil {
		return &wire.Stored{Hash: put.Hash, Error: fmt.Sprintf("make room for it: %v", err)}
	}
	s.pending = &pendingFile{put, os.NewFile(uintptr(fd), put.Hash), put.Size}
	if put.Size == 0 {
		return s.finish()
	}
	return nil
}

// write takes the next bytes of the pending file and reports its completion.
func (s *store) write(data []byte) *wire.Stored {
	p := s.pending
	if p == nil {
		return nil // the file was given up; the rest of its bytes still arrives
	}
	if int64(len(data)) > p.left {
		return s.abandon(errors.New("more bytes than announced"))
	}
	if _, err := p.file.Write(data); err != nil {
		return s.abandon(err)
	}
	if p.left -= int64(len(data)); p.left > 0 {
		return nil
	}
	return s.finish()
}

// finish publishes the file.
func (s *store) finish() *wire.Stored {
	p := s.pending
	s.pending = nil
	s.lock.Lock()
	defer s.lock.Unlock()
	if old, ok := s.files[p.put.Hash]; ok {
		old.Close()
	}
	s.files[p.put.Hash] = p.file
	return &wire.Stored{Hash: p.put.Hash}
}

// abandon gives the pending file up.
func (s *store) abandon(why error) *wire.Stored {
	p := s.pending
	s.pending = nil
	p.file.Close()
	return &wire.Stored{Hash: p.put.Hash, Error: why.Error()}
}

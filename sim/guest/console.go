package guest

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// firstLine is what init says first: the kernel has booted.
const firstLine = "proxyproof: init"

// console keeps the end of what the machine said and notices the first line of init.
type console struct {
	spoken chan struct{}
	lock   sync.Mutex
	data   []byte
	once   sync.Once
}

// consoleMost is how much of it is kept, in bytes.
const consoleMost = 64 << 10

func (c *console) Write(data []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.data = append(c.data, data...)
	if bytes.Contains(c.data, []byte(firstLine)) {
		c.once.Do(func() { close(c.spoken) })
	}
	if over := len(c.data) - consoleMost; over > 0 {
		c.data = bytes.Clone(c.data[over:])
	}
	return len(data), nil
}

// follow reads until the machine ends.
func (c *console) follow(r io.Reader) { _, _ = io.Copy(c, r) }

// String leaves out what the firmware sends to make a terminal blank.
func (c *console) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	text := strings.NewReplacer("\x1bc", "", "\x1b[?7l", "", "\x1b[2J", "", "\x1b[0m", "", "\r", "").Replace(string(c.data))
	return strings.TrimSpace(text)
}

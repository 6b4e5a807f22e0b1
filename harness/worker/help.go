package worker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"proxyproof/sim/world"
)

// helps remembers what binaries say of themselves: each is asked once.
type helps struct {
	lock    sync.Mutex
	answers map[string]string // by binary and arguments
}

// helpLimit bounds the time in which a binary prints its options.
const helpLimit = 60 * time.Second

// ask runs a binary on a node and returns what it printed, whatever its exit code.
func (h *helps) ask(ctx context.Context, node world.Node, binary string, args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	key := strings.Join(append([]string{binary}, args...), " ")
	if answer, ok := h.answers[key]; ok {
		return answer, nil
	}
	var answer strings.Builder
	process, err := node.Start(ctx, world.Command{Path: binary, Args: args, Output: func(l world.Line) { answer.WriteString(l.Text + "\n") }})
	if err != nil {
		return "", fmt.Errorf("ask the subject for its options: %w", err)
	}
	defer process.Kill()
	ctx, cancel := context.WithTimeout(ctx, helpLimit)
	defer cancel()
	select {
	case <-process.Done():
	case <-ctx.Done():
		return "", fmt.Errorf("ask the subject for its options: %s %s does not end: %w", binary, strings.Join(args, " "), context.Cause(ctx))
	}
	if h.answers == nil {
		h.answers = map[string]string{}
	}
	h.answers[key] = answer.String()
	return answer.String(), nil
}

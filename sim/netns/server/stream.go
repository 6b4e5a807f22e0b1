package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"syscall"

	"proxyproof/sim/world"
)

// accept serves connections until the listener is closed.
func (s *Server) accept(l net.Listener) {
	places := make(chan struct{}, maxConns)
	for {
		places <- struct{}{}
		c, err := l.Accept()
		if errors.Is(err, syscall.ECONNABORTED) { // the peer was faster
			<-places
			continue
		}
		if err != nil {
			return
		}
		if !s.enter(c) {
			c.Close()
			return
		}
		s.running.Go(func() {
			defer func() { <-places }()
			defer s.leave(c)
			s.serve(c)
		})
	}
}

// serve says who we are and then echoes lines. Errors are the peer's affair: it sees them too.
func (s *Server) serve(c net.Conn) {
	hello, err := json.Marshal(world.Answer{Server: s.name, Saw: c.RemoteAddr().String(), To: c.LocalAddr().String()})
	if err != nil {
		return
	}
	if _, err := c.Write(append(hello, '\n')); err != nil {
		return
	}
	lines := bufio.NewReaderSize(c, world.MaxAnswer)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		if _, err := c.Write(line); err != nil {
			return
		}
	}
}

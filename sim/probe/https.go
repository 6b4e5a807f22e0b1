package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sys/unix"
)

// Request is what an HTTP or HTTPS probe asks for.
type Request struct {
	// TLS must name the roots and the server; nil trusts nobody. HTTP does not need it.
	TLS *tls.Config
	// Path, such as "/healthz".
	Path   string
	Header http.Header
	// Status that is expected; 0 accepts any.
	Status int
}

// maxBody is how much of an answer is kept, in bytes.
const maxBody = 4096

// HTTPS asks a server over TLS once, on a connection of its own.
func HTTPS(ctx context.Context, a Aim, q Request) Result { return a.asked(ctx, "https", q, shake) }

// HTTP does the same without TLS.
func HTTP(ctx context.Context, a Aim, q Request) Result { return a.asked(ctx, "http", q, plain) }

func (a Aim) asked(ctx context.Context, name string, q Request, begin func(*socket, Request) (*session, error)) Result {
	making, cancel := a.bounded(ctx)
	defer cancel()
	start := time.Now()
	r, s := a.connect(making, name, unix.IPPROTO_TCP)
	if s == nil {
		return r
	}
	defer s.Close()
	ctx, cancel = context.WithTimeoutCause(ctx, max(a.Timeout+a.Patience-time.Since(start), 0), errTimeout)
	defer cancel()
	defer s.bind(ctx)()
	session, err := begin(s, q)
	if err == nil {
		err = session.ask(&r)
	}
	r.Took = time.Since(start)
	if err != nil {
		return r.failed(s.because(ctx, err), true)
	}
	return r
}

// session is a conversation on a connection.
type session struct {
	conn    net.Conn
	reader  *bufio.Reader
	request *http.Request
	status  int
}

// plain makes a session without TLS.
func plain(s *socket, q Request) (*session, error) { return converse(s, s, q) }

// converse makes a session on a connection that stands.
func converse(s *socket, conn net.Conn, q Request) (*session, error) {
	target, err := url.Parse(q.Path)
	if err != nil {
		return nil, err
	}
	request := &http.Request{Method: http.MethodGet, URL: target, Host: s.remote.String(), Header: q.Header}
	return &session{conn, bufio.NewReader(conn), request, q.Status}, nil
}

// shake makes a session with TLS.
func shake(s *socket, q Request) (*session, error) {
	config := &tls.Config{}
	if q.TLS != nil {
		config = q.TLS.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	conn := tls.Client(s, config)
	if err := conn.Handshake(); err != nil {
		return nil, notTLS{err}
	}
	return converse(s, conn, q)
}

// ask makes one request on the session and completes the result with the answer.
func (h *session) ask(r *Result) error {
	if err := h.request.Write(h.conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(h.reader, h.request)
	if err != nil {
		return notHTTP{err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return notHTTP{err}
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil { // the next answer follows
		return notHTTP{err}
	}
	r.Status, r.Body, r.Outcome = response.StatusCode, string(body), Answered
	if h.status != 0 && r.Status != h.status {
		r.Outcome, r.Detail = Unexpected, fmt.Sprintf("status %d, expected %d", r.Status, h.status)
	}
	return nil
}

package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Request is what an HTTPS probe asks for.
type Request struct {
	// TLS must name the roots and the server; nil trusts nobody.
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
func HTTPS(ctx context.Context, a Aim, q Request) Result {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	start := time.Now()
	r, s := a.connect(ctx, "https")
	if s == nil {
		return r
	}
	defer s.Close()
	defer s.bind(ctx)()
	session, err := shake(s, q)
	if err == nil {
		err = session.ask(&r)
	}
	r.Took = time.Since(start)
	if err != nil {
		return r.failed(s.because(ctx, err), true)
	}
	return r
}

// session is a TLS session on a connection.
type session struct {
	conn    *tls.Conn
	reader  *bufio.Reader
	request *http.Request
	status  int
}

// shake makes a session.
func shake(s *socket, q Request) (*session, error) {
	target, err := url.Parse(q.Path)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{}
	if q.TLS != nil {
		config = q.TLS.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	conn := tls.Client(s, config)
	request := &http.Request{Method: http.MethodGet, URL: target, Host: s.remote.String(), Header: q.Header}
	return &session{conn, bufio.NewReader(conn), request, q.Status}, conn.Handshake()
}

// ask makes one request on the session and completes the result with the answer.
func (h *session) ask(r *Result) error {
	if err := h.request.Write(h.conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(h.reader, h.request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil { // the next answer follows
		return err
	}
	r.Status, r.Body, r.Outcome = response.StatusCode, string(body), Answered
	if h.status != 0 && r.Status != h.status {
		r.Outcome, r.Detail = Unexpected, fmt.Sprintf("status %d, expected %d", r.Status, h.status)
	}
	return nil
}

package status

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestStatus asks over HTTP, before and after the first sync that succeeds.
func TestStatus(t *testing.T) {
	address := free(t)
	s := New(func() int64 { return 42 })
	server, err := s.Serve(t.Context(), address, address)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	expect := func(path string, code int, lines ...string) {
		t.Helper()
		response, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != code {
			t.Errorf("%s: error %v, status %d and not %d", path, err, response.StatusCode, code)
		}
		for _, line := range lines {
			if !strings.Contains(string(body), line+"\n") {
				t.Errorf("%s lacks %q:\n%s", path, line, body)
			}
		}
	}
	expect("/healthz", 200)
	expect("/readyz", 503)
	s.Synced(time.Millisecond, 0, 0, errors.New("no"))
	expect("/readyz", 503)
	s.Synced(time.Millisecond, 7, 2, nil)
	expect("/readyz", 200)
	expect("/metrics", 200, "proxyproof_syncs_total 2", "proxyproof_sync_errors_total 1", "proxyproof_virtual_services 7",
		"proxyproof_conflicts 2", "proxyproof_kernel_writes_total 42", "proxyproof_sync_duration_seconds_count 2")
}

// TestNothingIsToldUnasked: without addresses nobody listens.
func TestNothingIsToldUnasked(t *testing.T) {
	server, err := New(func() int64 { return 0 }).Serve(t.Context(), "", "")
	if err != nil || len(server.servers) > 0 {
		t.Errorf("error %v, %d listeners", err, len(server.servers))
	}
}

// free is an address that nobody listens at.
func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

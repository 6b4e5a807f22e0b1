package healthcheck

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"proxyproof/reference/plan"
)

// freePort is one that nobody listens on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func ask(number uint16) string {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", number))
	if err != nil {
		return "refused"
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(body)))
}

func TestServe(t *testing.T) {
	s := &Server{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	defer s.Close()
	web, number := types.NamespacedName{Namespace: "default", Name: "web"}, freePort(t)
	for _, step := range []struct {
		wanted map[uint16]plan.Health
		answer string
	}{
		{nil, "refused"},
		{map[uint16]plan.Health{number: {Service: web, Local: 2}}, `200 {"localEndpoints":2,"service":{"name":"web","namespace":"default"},"serviceProxyHealthy":true}`},
		{map[uint16]plan.Health{number: {Service: web}}, `503 {"localEndpoints":0,`},
		{nil, "refused"},
	} {
		if err := s.Serve(step.wanted); err != nil {
			t.Fatal(err)
		}
		if got := ask(number); !strings.HasPrefix(got, step.answer) {
			t.Errorf("with %v it answers %s; want %s", step.wanted, got, step.answer)
		}
	}
	taken, err := net.Listen("tcp", fmt.Sprintf(":%d", number))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := s.Serve(map[uint16]plan.Health{number: {Service: web}}); err == nil || !strings.Contains(err.Error(), "Service default/web") {
		t.Errorf("on a port that is taken: %v", err)
	}
}

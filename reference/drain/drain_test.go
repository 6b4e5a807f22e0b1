package drain

import (
	"net/netip"
	"testing"
	"time"

	"proxyproof/reference/plan"
)

func TestOver(t *testing.T) {
	at := func(p plan.Protocol) Destination {
		return Destination{
			plan.Service{Address: netip.MustParseAddr("198.18.0.5"), Port: 80, Protocol: p},
			plan.Dest{Address: netip.MustParseAddr("198.19.1.1"), Port: 8080},
		}
	}
	start := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		period      time.Duration
		protocol    plan.Protocol
		connections int
		after       time.Duration
		want        bool
	}{
		"a connection has its time":             {30 * time.Second, plan.TCP, 1, 29 * time.Second, false},
		"and no more":                           {30 * time.Second, plan.TCP, 1, 30 * time.Second, true},
		"nothing is left to wait for":           {30 * time.Second, plan.TCP, 0, 0, true},
		"UDP does not say when it ends":         {30 * time.Second, plan.UDP, 1, 0, true},
		"without a period nothing is drained":   {0, plan.TCP, 1, 0, true},
		"a clock that goes back ends no period": {30 * time.Second, plan.TCP, 1, -time.Hour, false},
	} {
		b, d := New(c.period), at(c.protocol)
		b.Begin(d, start)
		b.Begin(d, start.Add(time.Minute)) // what drains already gets no more time
		if got := b.Over(d, c.connections, start.Add(c.after)); got != c.want {
			t.Errorf("%s: over is %v", name, got)
		}
	}
}

func TestBookForgets(t *testing.T) {
	b := New(time.Minute)
	d := Destination{Service: plan.Service{Protocol: plan.TCP}}
	b.Begin(d, time.Unix(0, 0))
	b.Keep(map[Destination]bool{d: true})
	if b.Over(d, 1, time.Unix(1, 0)) {
		t.Error("what is still there was forgotten")
	}
	b.Keep(nil)
	b.Begin(d, time.Unix(100, 0))
	if b.Over(d, 1, time.Unix(101, 0)) {
		t.Error("what came back has the time of before")
	}
}

package defect

import (
	"os"

	"proxyproof/reference/apply"
	"proxyproof/reference/plan"
	"proxyproof/reference/proxy"
)

// nodestConnectionsKept left net.ipv4.vs.expire_nodest_conn as the kernel has it: IPVS drops what belongs to a connection whose
// destination is gone, until it times out; with UDP, each datagram starts that time anew.
var nodestConnectionsKept = Defect{
	Name:     "nodest-connections-kept",
	Issue:    "cloudnativelabs/kube-router#413",
	Summary:  "IPVS keeps connections to endpoints that are gone, and drops what comes on them",
	Findings: []string{"sysctl-wrong", "reach-failed"},
	When:     "sysctl-wrong in every case; reach-failed where a UDP client keeps its port while its endpoint goes",
	Wrap:     proxy.Middleware{Writer: func(w apply.Writer) apply.Writer { return nodestKept{w} }},
}

type nodestKept struct{ apply.Writer }

func (w nodestKept) Prepare(families []plan.Family) error {
	if err := w.Writer.Prepare(families); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/vs/expire_nodest_conn", []byte("0"), 0)
}

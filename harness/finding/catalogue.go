package finding

// Entry documents one kind of finding.
type Entry struct {
	ID ID
	// Summary is one line.
	Summary string
	// Meaning tells what it does to traffic or to people.
	Meaning string
	// LookAt tells where to look first.
	LookAt string
}

// Catalogue lists every kind of finding: those that packets give, those about the subject's process, then those that the
// invariants give in the order in which they are judged. docs/findings.md is made from it.
func Catalogue() []Entry {
	var all []Entry
	for _, part := range [][]Entry{packets, process, sets, table, addresses, rules} {
		all = append(all, part...)
	}
	return all
}

// Lookup finds the entry of an id.
func Lookup(id ID) (Entry, bool) {
	for _, e := range Catalogue() {
		if e.ID == id {
			return e, true
		}
	}
	return Entry{}, false
}

var packets = []Entry{
	{
		ID:      "apiserver-refused",
		Summary: "No connection to the API server on its node's own address can be made.",
		Meaning: "The node has locked its own API server out, as in cloudnativelabs/kube-router#1685. A proxy that reaches the API through this address can no longer learn that the Service is gone, so the fault heals only by hand.",
		LookAt:  "The evidence: who sent the ICMP error, and which node has the address through which Service; whether it is in svip and in local-ips there. Then the last rule of KUBE-ROUTER-SERVICES.",
	},
	{
		ID:      "apiserver-no-answer",
		Summary: "The API server's own address and port take connections, but no API server answers on them.",
		Meaning: "Something else has port 6443: a Service or a host port that was led there by NAT or IPVS (kubernetes/kubernetes#72338). A check that only connects takes it for well, and every client hangs or fails in its TLS handshake.",
		LookAt:  "The evidence: a rule of table nat or a virtual service at that address and port, and on which node. How far the probe came: no TLS, no HTTP, a reset, or nothing.",
	},
	{
		ID:      "apiserver-wrong-certificate",
		Summary: "A TLS server answers at the API server's own address, with a certificate that is not the cluster's for that address.",
		Meaning: "Clients are led to another server: an ingress controller, or another cluster (kubernetes/kubernetes#66103). Those that verify fail; those that do not hand their tokens to a stranger.",
		LookAt:  "The name in the certificate, which is in the evidence, and what leads port 6443 there: host ports, node ports, external addresses that are the node's.",
	},
	{
		ID:      "apiserver-error",
		Summary: "What answers at the API server's own address has the cluster's certificate, and answers with another HTTP status than 200.",
		Meaning: "Clients are led to a server of the cluster that does not serve: one that is starting or shutting down, or has lost its store (kubernetes/kubernetes#56584). The API server at the address itself is ready.",
		LookAt:  "The status in the evidence, and what leads port 6443 to another node.",
	},
	{
		ID:      "apiserver-ping-lost",
		Summary: "The API server's node does not answer pings on one of its own addresses.",
		Meaning: "As ping-lost, for the address that a cluster cannot do without. The request may be lost on the node, or the answer on the node that asks.",
		LookAt:  "The evidence: which places, and which rule of which node. From the node itself it is node-self-unreachable, if the proxy runs there.",
	},
	{
		ID:      "node-self-unreachable",
		Summary: "A node cannot reach one of its own addresses.",
		Meaning: "Health checks, kubelets and host-network pods that talk to their own node fail. The echo reply to the node itself meets the same rules as any other incoming packet.",
		LookAt:  "local-ips of the family; a VIP route without a source, which makes the node talk from a VIP.",
	},
	{
		ID:      "node-reach-changed",
		Summary: "What a node's own address does for a client is not what it did before the subject came.",
		Meaning: "On every address of a node with the proxy there is a server that is no Service's, over TCP and UDP, ports that are closed, and echo. Services must not change how any of that is reached: a closed port that rejects instead of resetting is a firewall that guards what is not its own.",
		LookAt:  "The evidence: which probes, and who rejected. Whether the address is in svip and not in local-ips.",
	},
	{
		ID:      "reach-failed",
		Summary: "A target that a scenario expects to answer does not.",
		Meaning: "The Service is not usable from that place: refused, unreachable, or silent.",
		LookAt:  "The result of the probe: a refusal names who refused. Findings about IPVS and VIP addresses of the same Service; for replies that never come back, masquerading and routes.",
	},
	{
		ID:      "wrong-backend",
		Summary: "A pod answered that is not among the backends that the scenario allows.",
		Meaning: "Traffic goes to an endpoint of another Service, a terminating one, or past a traffic policy.",
		LookAt:  "The destinations of the IPVS service, and the EndpointSlices that they come from.",
	},
	{
		ID:      "backend-unused",
		Summary: "A backend that the scenario expects got no connection, given enough of them.",
		Meaning: "Load is not spread over all endpoints: one is missing, has weight 0, or the scheduler or session affinity is not what was asked for.",
		LookAt:  "ipvs-dest-missing and ipvs-dest-wrong; scheduler and persistence of the IPVS service.",
	},
	{
		ID:      "affinity-broken",
		Summary: "New connections of one client went to different backends, in spite of session affinity.",
		Meaning: "What an application keeps in the memory of one backend is lost in the middle of a session.",
		LookAt:  "Persistence and its netmask at the IPVS service; whether the backend that had the client is still a destination.",
	},
	{
		ID:      "wrong-source",
		Summary: "A backend saw another source address than the scenario expects.",
		Meaning: "With the node's address instead of the client's, access lists and logs are wrong; with the client's where masquerading was asked for, answers may take a way of their own and be lost.",
		LookAt:  "The masquerade rule in nat POSTROUTING, and the traffic policy of the Service.",
	},
	{
		ID:      "health-check-wrong",
		Summary: "The health-check node port of a Service does not say what the scenario expects.",
		Meaning: "An external load balancer sends traffic to nodes without a local endpoint, or none to those that have one.",
		LookAt:  "The result of the probe; externalTrafficPolicy, healthCheckNodePort, and the ready local endpoints.",
	},
	{
		ID:      "not-refused",
		Summary: "A target that should refuse, with proof, answers or stays silent.",
		Meaning: "Something is still served that should not be, or it is dropped where a client should be told.",
		LookAt:  "Leftover IPVS services; the REJECT at the end of KUBE-ROUTER-SERVICES. Silence is no proof of refusal.",
	},
	{
		ID:      "ping-lost",
		Summary: "A target does not answer ICMP echo.",
		Meaning: "People and monitoring take the address for dead, and errors of path MTU discovery may be lost with it.",
		LookAt:  "The ICMP rules of KUBE-ROUTER-SERVICES; for IPv6 also neighbour discovery.",
	},
	{
		ID:      "state-mismatch",
		Summary: "Something in the kernel is not as a scenario says.",
		Meaning: "An ipset, a virtual service, an address, a route, a rule or a setting is there and should not be, or the other way round, or looks different.",
		LookAt:  "The evidence, which has what was found beside what was expected.",
	},
	{
		ID:      "hold-lost",
		Summary: "A probe that was held through the whole scenario had an outage longer than allowed.",
		Meaning: "Connections broke while objects changed, even if everything is well again at the end.",
		LookAt:  "The step during which the outage began, and the kernel changes at that time.",
	},
}

var process = []Entry{
	{
		ID:      "subject-not-ready",
		Summary: "The subject did not serve the kubernetes Service in time after its start.",
		Meaning: "Nothing else can be judged. A health endpoint that answers is no proof: some answer before the first sync.",
		LookAt:  "What it asked for in vain (API resources, kernel modules), and its log. If the simulated node or API server lacks something that a real one has, the verdict is a harness error instead.",
	},
	{
		ID:      "subject-exited",
		Summary: "The subject ended by itself while it should have been running.",
		Meaning: "What it left in the kernel still handles traffic but follows no change any more. A dead subject passes every check that things are still reachable, so a case with this finding never passes, and the state is not judged.",
		LookAt:  "The exit code and the last lines of the log.",
	},
	{
		ID:      "subject-log-error",
		Summary: "The subject logged an error that its profile does not allow.",
		Meaning: "Something failed inside, even if traffic does not suffer yet.",
		LookAt:  "The lines in the evidence, and what happened in the kernel at that time.",
	},
	{
		ID:      "subject-heartbeat-missed",
		Summary: "The subject reports again and again that a part of it has given no sign of life in time.",
		Meaning: "That part hangs, or its work takes longer than its period. A health endpoint of the subject is likely to fail, so that a kubelet restarts it.",
		LookAt:  "The part in the evidence, what it logged last, and how long its syncs take. A sign of life that is late only because this machine is slow or starved is no finding.",
	},
	{
		ID:      "subject-log-flood",
		Summary: "The subject logged more than 20 000 lines or 4 MiB in one case.",
		Meaning: "A disk fills up, and nobody finds the line that matters. Usually a loop that retries without a pause, which eats a CPU, too.",
		LookAt:  "The last line that was kept. What came after was not recorded, and no error was looked for in it.",
	},
	{
		ID:      "subject-wrote-outside",
		Summary: "The subject made, changed or removed files outside of /etc, /run, /tmp and /var/lib.",
		Meaning: "On a real node it would leave traces that nobody removes, or fail where the file system is read-only. Here they went into a layer of the node's own.",
		LookAt:  "The paths in the evidence: a cache, a log file, a configuration of another program.",
	},
	{
		ID:      "subject-not-settled",
		Summary: "The subject did not come to rest: it kept working, or the kernel's state kept changing.",
		Meaning: "It writes in a loop. Each write is a chance to lose traffic, and a second sync should change nothing.",
		LookAt:  "The evidence, which names the threads that were at work, with the CPU time that they used, and what of the kernel's state flipped.",
	},
	{
		ID:      "subject-cut-off",
		Summary: "The subject no longer hears the API server: what its watches were sent stays unacknowledged.",
		Meaning: "It reaches the API server through an address that it has itself made unreachable; it cannot learn of the change that would mend it.",
		LookAt:  "The subject's API path, and the findings about the API server's address.",
	},
	{
		ID:      "restart-changed-state",
		Summary: "The subject was restarted, and the kernel's state is another one than before.",
		Meaning: "What it does depends on its past: a node that was updated and one that was not serve differently.",
		LookAt:  "The changes in the evidence, and how the subject takes over what it finds when it starts.",
	},
	{
		ID:      "touch-changed-state",
		Summary: "All Services were updated without a change of their meaning, and the kernel's state changed.",
		Meaning: "Each update of an annotation does something to the data path, or the state before was not what the subject itself wants.",
		LookAt:  "The changes in the evidence, and what a second sync does that the first did not.",
	},
	{
		ID:      "state-left-behind",
		Summary: "All Services were deleted, and the kernel's state is not what it was before the first.",
		Meaning: "Sets, rules, addresses or virtual services pile up on a node that lives long.",
		LookAt:  "The changes in the evidence: what was added and not taken away again.",
	},
	{
		ID:      "subject-not-back",
		Summary: "The subject did not open its watches again after the API server had been away.",
		Meaning: "It goes on with what it last knew, and follows no change until it is restarted.",
		LookAt:  "Its requests after the API server was healed, and what its log says of the errors before.",
	},
	{
		ID:      "subject-ignored-sigterm",
		Summary: "The subject did not exit in time after SIGTERM.",
		Meaning: "A rollout kills it in the middle of a write.",
		LookAt:  "What it waits for: a lock, a watch, a child process.",
	},
}

var sets = []Entry{
	{
		ID:      "local-ips-incomplete",
		Summary: "The ipset local-ips lacks an address of a plain link, does not exist, or is of the wrong type.",
		Meaning: "That address has no protection: as soon as it is in svip, every port of it that is no service's is closed.",
		LookAt:  "Which family is affected, and which links: a family, a link or a second address may be left out as a whole.",
	},
	{
		ID:      "local-ips-excess",
		Summary: "The ipset local-ips holds an address that no plain link has.",
		Meaning: "For a VIP in it, ports that are no service's are not refused any more.",
		LookAt:  "Whether it is a VIP (on kube-dummy-if) or an address that the node had before.",
	},
	{
		ID:      "svip-incomplete",
		Summary: "The ipset svip lacks the address of an IPVS service that comes from a Service, does not exist, or is of the wrong type.",
		Meaning: "Ports of that VIP that are no service's are not refused: what listens on all addresses of the node can be reached through it.",
		LookAt:  "Whether svip-prt lacks it, too; the order of writes to IPVS and to the sets.",
	},
	{
		ID:      "svip-has-foreign",
		Summary: "The ipset svip holds an address at which no Service is served.",
		Meaning: "The firewall closes ports of an address that is not the proxy's: an IPVS service of another program, or one that is gone.",
		LookAt:  "The evidence tells which IPVS service is at that address, and whether it is the subject's.",
	},
	{
		ID:      "svip-prt-incomplete",
		Summary: "The ipset svip-prt lacks address, protocol and port of an IPVS service that comes from a Service.",
		Meaning: "The firewall rejects the Service's own traffic if the address is not in local-ips.",
		LookAt:  "Protocol and port of the missing member: UDP, or one of several ports, may be left out.",
	},
	{
		ID:      "svip-prt-has-foreign",
		Summary: "The ipset svip-prt holds an address and port at which no Service is served.",
		Meaning: "The firewall lets traffic to a VIP through that nothing serves.",
		LookAt:  "Whether it is left over from a Service that was deleted or changed its port.",
	},
	{
		ID:      "node-address-unprotected",
		Summary: "A node's own address is in svip and not in local-ips.",
		Meaning: "All ports of that address that are no service's are closed, the API server's among them. That it is in svip is by design: a node port puts it there. That it is not in local-ips is the fault.",
		LookAt:  "The evidence names the Service and the rule. Then how local-ips is filled for this family.",
	},
}

var table = []Entry{
	{
		ID:      "foreign-changed",
		Summary: "Something in the kernel that belongs to somebody else was changed or removed.",
		Meaning: "keepalived, a VPN or another firewall on the same node has lost its state, and will not notice. Or the subject fights with it for ever.",
		LookAt:  "The evidence: what is gone or different. Clean-up of stale entries, and sets or chains that are replaced as a whole.",
	},
	{
		ID:      "ipvs-service-missing",
		Summary: "IPVS lacks a virtual service that a Service asks for.",
		Meaning: "The Service cannot be reached at that address and port through this node.",
		LookAt:  "Which kind of address: cluster, external, load balancer, node port. A traffic policy of one kind may have starved another.",
	},
	{
		ID:      "ipvs-service-unjustified",
		Summary: "IPVS has a virtual service that no Service asks for on this node and that was not there before the subject.",
		Meaning: "Traffic to an address is caught that is not the proxy's: after a deletion, for a Service of another proxy, or past a Local policy without a local endpoint.",
		LookAt:  "Whether the Service was deleted or changed, and the events that the subject got for it.",
	},
	{
		ID:      "ipvs-service-wrong",
		Summary: "A virtual service has another scheduler, session affinity or netmask than its Service asks for.",
		Meaning: "Connections are spread otherwise than asked; with a wrong netmask, clients of a whole network count as one.",
		LookAt:  "The scheduler annotation, sessionAffinity and its time-out. IPv6 needs netmask 128.",
	},
	{
		ID:      "ipvs-dest-missing",
		Summary: "A virtual service lacks the destination of an endpoint that should get traffic.",
		Meaning: "The endpoint gets no traffic; if it is the only one, the Service is refused.",
		LookAt:  "The endpoint's conditions, its EndpointSlice (there may be several), and the traffic policy of this kind of address.",
	},
	{
		ID:      "ipvs-dest-unjustified",
		Summary: "A virtual service has a destination that is no endpoint in use.",
		Meaning: "Part of the connections goes to a pod that is gone, unready, on another node in spite of a Local policy, or another Service's.",
		LookAt:  "Whether the address is in an EndpointSlice of the Service at all. A destination of weight 0 is being drained and never reported.",
	},
	{
		ID:      "ipvs-dest-wrong",
		Summary: "A destination that should serve has another weight than 1, or is not forwarded by masquerading.",
		Meaning: "With weight 0 it gets no new connection; with another forwarding method its answers do not come back.",
		LookAt:  "Whether an endpoint came back while it was being drained.",
	},
}

var addresses = []Entry{
	{
		ID:      "vip-address-missing",
		Summary: "kube-dummy-if lacks a VIP, is down, or does not exist.",
		Meaning: "Packets to the VIP do not reach IPVS: they are forwarded or dropped.",
		LookAt:  "Whether the virtual service is there without its address; both are written one after the other.",
	},
	{
		ID:      "vip-address-unjustified",
		Summary: "kube-dummy-if carries an address that is no Service's, or one with a mask that takes in more than the VIP.",
		Meaning: "The node swallows traffic to an address that is somebody else's.",
		LookAt:  "Deleted Services, LoadBalancer addresses that changed, node ports (which never belong there).",
	},
	{
		ID:      "vip-route-wrong",
		Summary: "The route from the node to a VIP does not name a node address as its source, or is left over.",
		Meaning: "What the node itself sends to its VIP has the VIP as its source, and no remote endpoint can answer it (cloudnativelabs/kube-router#1698).",
		LookAt:  "For IPv6, the routes that the kernel adds for any address: metric 0 in table local, metric 256 in table main. Both must go.",
	},
	{
		ID:      "sysctl-wrong",
		Summary: "A sysctl of the node for IPVS or ARP is not what Services need.",
		Meaning: "All entries can be right, and connections still go to endpoints that are gone, wait, or are answered by the wrong node; " +
			"the sentence says which (cloudnativelabs/kube-router#413, kubernetes/kubernetes#71358).",
		LookAt: "Whether the subject sets it at its start, and whether something else, a test's set-up included, sets it back.",
	},
	{
		ID:      "lb-address-missing",
		Summary: "A Service of type LoadBalancer was given no address in one of its families.",
		Meaning: "The Service stays pending and is not reachable from outside through a load balancer address.",
		LookAt:  "Whether the subject got its lease and could write services/status; the size of the range.",
	},
	{
		ID:      "lb-address-duplicate",
		Summary: "A load balancer address was given more than once.",
		Meaning: "Two Services take each other's traffic.",
		LookAt:  "Restarts and changes of the allocator's leader: an address in a status must not be handed out again.",
	},
	{
		ID:      "conflict-untold",
		Summary: "Somebody else has a virtual service where a Service wants one, and no Event on the Service says so.",
		Meaning: "The Service is not served there, rightly, but its owner cannot know why.",
		LookAt:  "What the subject does when it finds a virtual service that it has not made, and its right to create Events.",
	},
	{
		ID:      "lb-address-wrong",
		Summary: "A Service was given a load balancer address that is outside of the range, or another one than it asks for.",
		Meaning: "Traffic to the address does not come here, or belongs to somebody else.",
		LookAt:  "The range that the allocator was given, and loadBalancerIP of the Service.",
	},
}

var rules = []Entry{
	{
		ID:      "firewall-jump-wrong",
		Summary: "What comes for service addresses is not led to the chain that guards them: the jump is missing, there twice, conditional, or behind an accept.",
		Meaning: "Without it ports that no service has are open on every service address; twice, every packet is judged twice, and the copies grow with every sync.",
		LookAt:  "The rules of INPUT in the evidence, and their order.",
	},
	{
		ID:      "firewall-reject-wrong",
		Summary: "The last rule of the chain does not reject exactly what is not for the node itself, or another one rejects before it.",
		Meaning: "Rejected too early, services do not answer; not at all, a service address has open ports; without the exemption of local-ips the node is locked out.",
		LookAt:  "The rules of KUBE-ROUTER-SERVICES in the evidence, and their order.",
	},
	{
		ID:      "firewall-accept-missing",
		Summary: "No rule of the chain accepts what svip-prt holds.",
		Meaning: "Every service is rejected on every service address.",
		LookAt:  "The rules of KUBE-ROUTER-SERVICES in the evidence.",
	},
	{
		ID:      "firewall-set-wrong",
		Summary: "A rule names a set that does not exist, or that is of the other family.",
		Meaning: "The rule never matches. What it should accept is rejected, or the other way round.",
		LookAt:  "The names of sets: IPv6 ones begin with inet6:.",
	},
	{
		ID:      "firewall-rejects-neighbour-discovery",
		Summary: "IPv6 neighbour solicitations or advertisements for a service address are rejected.",
		Meaning: "Neighbours lose the node's address from their caches and cannot find it again: everything works until the first cache entry expires.",
		LookAt:  "The ICMPv6 types that the chain accepts: 135 and 136 have to be among them.",
	},
	{
		ID:      "firewall-rule-twice",
		Summary: "A rule of the subject is in its chain more than once.",
		Meaning: "Usually each sync adds one more, and the node becomes slower day by day.",
		LookAt:  "How the subject finds out that a rule is there: iptables-save prints it in other words than it was written in.",
	},
	{
		ID:      "firewall-mask-wrong",
		Summary: "A rule about one host has the mask of a network.",
		Meaning: "It is applied to the host's neighbours, too. /32 on an IPv6 address is a quarter of a provider.",
		LookAt:  "The mask in the evidence: /32 is IPv4's, /128 is IPv6's.",
	},
	{
		ID:      "firewall-not-understood",
		Summary: "A rule that decides about service addresses is not understood.",
		Meaning: "Nothing is known about the subject: this check does not guess.",
		LookAt:  "The rule in the evidence. If it is a good one, package netstate should learn it.",
	},
}

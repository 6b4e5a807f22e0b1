package proxy

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"proxyproof/reference/apply"
)

// Main is the command line of a proxy: it runs until a signal and returns the exit code. middleware is asked for once the
// flags are known.
func Main(flags *flag.FlagSet, middleware func() ([]Middleware, error)) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	quietLibraries(log)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flags, middleware, log); err != nil {
		log.Error("exits", "error", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, flags *flag.FlagSet, middleware func() ([]Middleware, error), log *slog.Logger) error {
	config, err := parse(flags, os.Args[1:])
	if err != nil {
		return err
	}
	config.Log = log
	if config.Cleanup {
		return cleanUp(log)
	}
	wraps, err := middleware()
	if err != nil {
		return err
	}
	return Run(ctx, config, wraps...)
}

// cleanUp takes away all that proxies have made on this machine.
func cleanUp(log *slog.Logger) error {
	kernel, err := apply.NewKernel()
	if err != nil {
		return err
	}
	defer kernel.Close()
	if err := kernel.Cleanup(log); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// parse reads the flags. A kubeconfig alone is enough.
func parse(flags *flag.FlagSet, args []string) (Config, error) {
	var c Config
	var ranges string
	hostname, _ := os.Hostname()
	kubeconfig := flags.String("kubeconfig", os.Getenv("KUBECONFIG"), "path of a kubeconfig; in-cluster configuration if empty")
	flags.StringVar(&c.Node, "node-name", hostname, "name of this node's Node object")
	flags.BoolVar(&c.LoadBalancer, "load-balancer", true, "give addresses to Services of type LoadBalancer")
	flags.StringVar(&ranges, "load-balancer-ranges", "", "CIDRs for them, separated by commas")
	flags.StringVar(&c.LeaseNamespace, "lease-namespace", "kube-system", "namespace of the Lease that elects who gives addresses")
	flags.BoolVar(&c.MasqueradeAll, "masquerade-all", false, "give connections through IPVS the node's address as their source")
	flags.BoolVar(&c.NodePortsOnAll, "node-ports-on-all-addresses", false, "serve node ports on all addresses of the node, not only on the first of each family")
	flags.DurationVar(&c.SyncPeriod, "sync-period", 5*time.Minute, "time between repairs of what somebody else changed")
	flags.DurationVar(&c.DrainPeriod, "drain-period", 30*time.Second, "longest time for which an endpoint that is gone keeps its TCP connections; 0 to cut them at once")
	flags.StringVar(&c.HealthAddress, "health-address", "", "address and port for /healthz and /readyz, such as 127.0.0.1:20244; none if empty")
	flags.StringVar(&c.MetricsAddress, "metrics-address", "", "address and port for /metrics; none if empty")
	flags.BoolVar(&c.Cleanup, "cleanup", false, "take away all that proxies of this kind have made on this machine, and exit; no proxy may run meanwhile")
	if err := flags.Parse(args); err != nil || c.Cleanup {
		return c, err
	}
	for text := range strings.SplitSeq(ranges, ",") {
		if text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return c, fmt.Errorf("--load-balancer-ranges: %w", err)
		}
		c.LoadBalancerRanges = append(c.LoadBalancerRanges, prefix)
	}
	api, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return c, fmt.Errorf("read the kubeconfig: %w", err)
	}
	api.ContentType, api.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	api.UserAgent = "proxyproof-reference"
	api.QPS = -1
	c.API = api
	return c, nil
}

// quietLibraries sends what client-go logs to our log as warnings: an API server that is away for a while is no fault of the
// proxy's.
func quietLibraries(log *slog.Logger) {
	klog.LogToStderr(false)
	klog.SetOutput(libraryLog{log})
}

type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Write(line []byte) (int, error) {
	if len(line) > 0 && line[0] != 'I' {
		l.log.Warn("client-go", "says", strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

// Command reference is an IPVS service proxy for Kubernetes that does it right: the standard that others are measured by.
package main

import (
	"flag"
	"os"

	"proxyproof/reference/proxy"
)

func main() {
	os.Exit(proxy.Main(flag.NewFlagSet("reference", flag.ContinueOnError), func() ([]proxy.Middleware, error) { return nil, nil }))
}

// Command defective is the reference proxy with one fault of the bug zoo. It exists to prove that the harness finds it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"

	"proxyproof/reference/defect"
	"proxyproof/reference/proxy"
)

func main() {
	if slices.Contains(os.Args[1:], "--list-defects") {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(defect.Zoo()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flags := flag.NewFlagSet("defective", flag.ContinueOnError)
	name := flags.String("defect", "", "the fault to have; --list-defects names them")
	os.Exit(proxy.Main(flags, func() ([]proxy.Middleware, error) {
		d, err := defect.Find(*name)
		if err != nil {
			return nil, fmt.Errorf("--defect: %w", err)
		}
		return []proxy.Middleware{d.Wrap}, nil
	}))
}

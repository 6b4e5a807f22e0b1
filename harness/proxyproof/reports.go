package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"proxyproof/harness/report"
)

// reportArgs say which reports there are beside that on the terminal.
type reportArgs struct {
	Junit    string `help:"Write a JUnit report to this file." type:"path"`
	Markdown string `help:"Write a summary as Markdown to this file, such as GitHub's $$GITHUB_STEP_SUMMARY." type:"path"`
	Annotate bool   `help:"Print findings as GitHub's annotations on the lines of the scenario files."`
	Verbose  bool   `short:"v" help:"Tell what happened in passing cases, too."`
}

// reportFiles are the files that reports go to.
type reportFiles []*os.File

// Close closes them all.
func (f reportFiles) Close() error {
	var errs []error
	for _, file := range f {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// open makes the reporters and their files. events is where the event stream goes, "" for nowhere.
func (a reportArgs) open(events string) (all []report.Reporter, files reportFiles, err error) {
	if a.Annotate {
		all = append(all, report.Annotate{W: os.Stdout})
	}
	all = append(all, report.Terminal{W: os.Stdout, Verbose: a.Verbose}) // last, as the count line must be
	for _, r := range []struct {
		path string
		make func(io.Writer) report.Reporter
	}{
		{a.Junit, func(w io.Writer) report.Reporter { return report.JUnit{W: w} }},
		{a.Markdown, func(w io.Writer) report.Reporter { return report.Markdown{W: w} }},
		{events, func(w io.Writer) report.Reporter { return report.NewStream(w) }},
	} {
		if r.path == "" {
			continue
		}
		file, err := os.Create(r.path)
		if err != nil {
			files.Close()
			return nil, nil, fmt.Errorf("write a report: %w", err)
		}
		files, all = append(files, file), append(all, r.make(file))
	}
	return all, files, nil
}

// SPDX-License-Identifier: Apache-2.0

// Command bench measures what kmesh-node costs and prints each figure beside its
// reference: what a peer or the least possible program takes. It needs root, makes
// everything in namespaces and a cgroup of its own, and leaves nothing.
//
// What is compared is measured in one run, in rounds that alternate, and given as
// the median over the rounds.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

func main() {
	// Network namespaces and the parent-death signal belong to a thread.
	runtime.LockOSThread()
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

type bench struct {
	*sandbox
	report   report
	captures string // directory of the control plane's captured responses, ads mode
	ambient  string // the same, workload mode
	floors   *floors
	enrolled *pod
	outside  *pod
	hooks    hooks  // kmesh-node's own, once they are taken over
	against  string // folder of another build to measure beside it; empty: none
	rivals   hooks  // that build's hooks
}

func run() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find own path: %w", err)
	}
	var (
		build    = flag.String("build", filepath.Dir(filepath.Dir(self)), "folder of the built files")
		captures = flag.String("captures", "internal/xds/testdata", "folder of captured responses of ads mode")
		ambient  = flag.String("ambient", "internal/workload/testdata", "folder of captured responses of workload mode")
		jsonFile = flag.String("json", "", "also write the report to this file")
		against  = flag.String("against", "", "measure connect also with the build in this folder, in the same rounds")
		only     = flag.String("run", "", "measure only the parts whose name matches this expression")
	)
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		return 2, err
	}
	if mode := os.Getenv(pushEnv); mode != "" {
		return 0, pushUntilEOF(mode)
	}
	if os.Getenv(innerEnv) == "" {
		return superviseInner()
	}
	b, err := newBench(*build, *captures, *ambient)
	if err != nil {
		return 0, err
	}
	if *against != "" {
		if b.against, err = filepath.Abs(*against); err != nil {
			return 0, err
		}
	}
	before, err := readLoad()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	b.measure(match)
	after, err := readLoad()
	if err != nil {
		return 0, err
	}
	b.report.noteLoad(before, after, time.Since(start))
	if err := b.report.print(os.Stdout); err != nil {
		return 0, err
	}
	if *jsonFile != "" {
		if err := b.report.writeJSON(*jsonFile); err != nil {
			return 0, err
		}
	}
	if b.report.failed() {
		return 1, nil
	}
	return 0, nil
}

func newBench(build, captures, ambient string) (*bench, error) {
	for _, path := range []*string{&build, &captures, &ambient} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	s, err := newSandbox(build)
	if err != nil {
		return nil, err
	}
	b := &bench{sandbox: s, captures: captures, ambient: ambient}
	if b.floors, err = loadFloors(filepath.Join(build, "test", "floor.bpf.o")); err != nil {
		return nil, err
	}
	if b.enrolled, err = newPod("enrolled"); err != nil {
		return nil, err
	}
	if b.outside, err = newPod("outside"); err != nil {
		return nil, err
	}
	if err := b.floors.know(b.enrolled); err != nil {
		return nil, err
	}
	b.report.Machine = machine()
	b.report.note("machine: %s", b.report.Machine)
	if n := strangers(b.cgroupFD); n > 0 {
		b.report.note("%d programs of others run on the same hooks: figures of connect() include them", n)
	}
	return b, nil
}

// measure runs the parts in the order of the tables. A part that fails leaves a row
// that says so, and the others go on.
func (b *bench) measure(match *regexp.Regexp) {
	for _, part := range []struct {
		mode string
		name string
		run  func() error
	}{
		{modeAds, "commands", b.measureCommands},
		{modeAds, "store", b.measureStore},
		{modeAds, "connect", b.measureConnect},
		{modeAds, "misses", b.measureMisses},
		{modeAds, "live-small", b.measureSmall},
		{modeAds, "live-large", b.measureLarge},
		{modeAds, "live-churn", b.measureChurn},
		{modeAds, "scrape", b.measureScrape},
		{modeWorkload, "workload-commands", b.measureWorkloadCommands},
		{modeWorkload, "workload-connect", b.measureWorkloadConnect},
		{modeWorkload, "workload-xdp", b.measureXDP},
		{modeWorkload, "workload-stream", b.measureStream},
		{modeWorkload, "workload-change", b.measureChange},
		{modeWorkload, "workload-live-small", b.measureSmall},
		{modeWorkload, "workload-live-large", b.measureLarge},
		{modeWorkload, "workload-live-churn", b.measureChurn},
		{modeWorkload, "workload-scrape", b.measureScrape},
		{modeWorkload, "cni", b.measureCNI},
	} {
		if !match.MatchString(part.name) {
			continue
		}
		b.report.mode = part.mode
		start := time.Now()
		if err := b.measurePart(part.mode, part.run); err != nil {
			b.report.add(row{Figure: part.name, Error: err.Error()})
		}
		fmt.Fprintf(os.Stderr, "bench: %s: %.1f s\n", part.name, time.Since(start).Seconds())
	}
}

// measurePart runs a part with the sandbox in its mode.
func (b *bench) measurePart(mode string, run func() error) (err error) {
	if b.mode != mode {
		if b.sandbox, err = b.in(mode); err != nil {
			return err
		}
	}
	return run()
}

// fresh brings kmesh-node up on an empty store, with one pod enrolled.
func (s *sandbox) fresh(enrolled *pod) error {
	for _, args := range [][]string{
		{"down"}, {"up"}, {"enroll", "--netns", enrolled.path},
	} {
		if _, err := s.node(args...); err != nil {
			return err
		}
	}
	return nil
}

// configure applies a configuration that sends the service to its backends.
func (s *sandbox) configure() error {
	path, err := s.writeService(serviceName, backends)
	if err != nil {
		return err
	}
	_, err = s.node("apply", "-f", path)
	return err
}

// measureConnect measures the connect path: per run with nothing configured,
// then with the service configured, then the time of connect() itself.
func (b *bench) measureConnect() error {
	err := b.fresh(b.enrolled)
	if err != nil {
		return err
	}
	if b.hooks, err = b.takeHooks(); err != nil {
		return err
	}
	if err := b.measureUnconfigured(); err != nil {
		return err
	}
	if err := b.configure(); err != nil {
		return err
	}
	if b.against != "" {
		if err := b.meetRival(); err != nil {
			return fmt.Errorf("bring %s up: %w", b.against, err)
		}
	}
	if err := b.measureRuns(); err != nil {
		return err
	}
	return b.measureLatency()
}

// meetRival brings another build up, and configured, beside the one that is measured.
func (b *bench) meetRival() error {
	r, err := b.sandbox.rival(b.against)
	if err != nil {
		return err
	}
	if err := r.fresh(b.enrolled); err != nil {
		return err
	}
	if b.rivals, err = r.takeHooks(); err != nil {
		return err
	}
	return r.configure()
}

// SPDX-License-Identifier: Apache-2.0

// Demo proves in one network namespace that connections to service addresses are
// spread over endpoints as configured. It listens on every endpoint, connects to
// each service many times, asks each connection which endpoint it reached, and
// prints the counts beside the shares. It exits 1 where they differ by more
// than one percent of the connections. Then it calls endpoints from another
// namespace and looks whether they let it in as configured.
//
// Arguments: SERVICE=ENDPOINT:SHARE[,ENDPOINT:SHARE…] with SHARE in percent, as
// 198.51.100.10:80=192.0.2.11:8080:60,192.0.2.12:8080:40, and calls,
// FROM->ENDPOINT=allowed or =denied
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

func main() {
	n := flag.Int("n", 1000, "connections to each service")
	callers := flag.String("callers", "", "network namespace that calls come from")
	flag.Parse()
	if err := run(*n, *callers, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(n int, callers string, args []string) error {
	var services []service
	var calls []call
	for _, arg := range args {
		if isCall(arg) {
			c, err := parseCall(arg)
			if err != nil {
				return err
			}
			calls = append(calls, c)
			continue
		}
		s, err := parseService(arg)
		if err != nil {
			return err
		}
		services = append(services, s)
	}
	if err := pin(); err != nil {
		return err
	}
	for _, s := range services {
		if err := listenAll(s); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tENDPOINT\tCONFIGURED\tCONNECTIONS\tSHARE")
	off := 0
	for _, s := range services {
		got, err := connectAll(s, n)
		if err != nil {
			return err
		}
		off += report(w, s, got, n)
	}
	if len(calls) > 0 {
		fmt.Fprintln(w, "\nFROM\tENDPOINT\tCONFIGURED\tWAS")
		k, err := callAll(w, callers, calls)
		if err != nil {
			return err
		}
		off += k
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	if off > 0 {
		return fmt.Errorf("%d lines are not what was configured", off)
	}
	return nil
}

// pin keeps all threads on one CPU: round robin counts on each CPU for itself,
// so that only there the shares are exact.
func pin() error {
	runtime.LockOSThread()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("get CPU affinity: %w", err)
	}
	for cpu := 0; ; cpu++ {
		if set.IsSet(cpu) {
			set.Zero()
			set.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("set CPU affinity: %w", err)
	}
	return nil
}

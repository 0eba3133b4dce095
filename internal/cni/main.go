// SPDX-License-Identifier: Apache-2.0

// Package cni is the chained CNI plugin: the container runtime calls it for each pod that
// comes and goes, behind the plugin that made the pod's interface, whose result it hands on.
package cni

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// Name is that of the program as a plugin, and of its type in a network configuration.
const Name = "kmesh-cni"

// maxInput is far above what a runtime hands over, 10 000 valid attachments included.
const maxInput = 16 << 20

// Invoked says whether the program was called as the plugin, by its name.
func Invoked(argv0 string) bool { return filepath.Base(argv0) == Name }

// Main serves one call, as the environment and standard input say, and returns the exit
// code. objects holds the BPF objects of this build as NAME.bpf.o, release its version.
func Main(objects fs.FS, release string) int {
	p := &plugin{objects: objects, began: time.Now(), limit: make(chan time.Duration, 1), out: os.Stdout, err: os.Stderr}
	done := make(chan *types.Error, 1)
	go func() {
		if err := errors.Join(boundStdin(), passNetns()); err != nil {
			done <- types.NewError(types.ErrIOFailure, err.Error(), "")
			return
		}
		done <- skel.PluginMainFuncsWithError(skel.CNIFuncs{
			Add: p.add, Del: p.del, Check: p.check, GC: p.gc, Status: p.status,
		}, versions, "kmesh-node "+release+", as a chained CNI plugin")
	}()
	return p.wait(done)
}

// wait waits for the call to be over, or its time.
func (p *plugin) wait(done <-chan *types.Error) int {
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	for {
		select {
		case limit := <-p.limit: // the configuration is read
			timer.Reset(limit - time.Since(p.began))
		case e := <-done:
			return p.answer(e)
		case <-timer.C:
			return p.answer(p.overdue())
		}
	}
}

// answer prints what the runtime is to read.
func (p *plugin) answer(e *types.Error) int {
	if e == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, err := p.out.Write(p.result); err != nil {
			fmt.Fprintf(p.err, "%s: write result: %v\n", Name, err)
			return 1
		}
		return 0
	}
	fmt.Fprintf(p.err, "%s: %v\n", Name, e)
	if err := e.Print(); err != nil {
		fmt.Fprintf(p.err, "%s: write error: %v\n", Name, err)
	}
	return 1
}

// passNetns keeps skel from opening the namespace behind DEL, which needs none: what is at
// the path by then may block.
func passNetns() error {
	if os.Getenv("CNI_COMMAND") != "DEL" {
		return nil
	}
	return os.Setenv("CNI_NETNS_OVERRIDE", "1")
}

// boundStdin puts what is read of standard input, up to a limit, in its place: skel reads
// all that there is.
func boundStdin() error {
	if c := os.Getenv("CNI_COMMAND"); c == "" || c == "VERSION" {
		return nil // it may be a terminal
	}
	data, err := readLimited(os.Stdin, maxInput)
	if err != nil {
		return fmt.Errorf("read network configuration: %w", err)
	}
	fd, err := unix.MemfdCreate(Name, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("keep network configuration: %w", err)
	}
	f := os.NewFile(uintptr(fd), "network configuration")
	_, err = f.Write(data)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("keep network configuration: %w", errors.Join(err, f.Close()))
	}
	os.Stdin = f
	return nil
}

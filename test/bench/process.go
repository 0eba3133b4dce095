// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a child whose use of the machine is looked at.
type process struct{ cmd *exec.Cmd }

func (p *process) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}

// status returns a number of /proc/PID/status; sizes are in bytes.
func (p *process) status(field string) (uint64, error) { return statusField(p.proc("status"), field) }

func statusField(path, field string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != field {
			continue
		}
		number, kB := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseUint(number, 10, 64)
		if kB {
			n *= 1024
		}
		return n, err
	}
	return 0, fmt.Errorf("%s has no %s", path, field)
}

// switches counts how often its threads were given a CPU up to now.
func (p *process) switches() (n uint64, err error) {
	tasks, err := os.ReadDir(p.proc("task"))
	if err != nil {
		return 0, err
	}
	for _, t := range tasks {
		path := filepath.Join(p.proc("task"), t.Name(), "status")
		for _, field := range []string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"} {
			k, err := statusField(path, field)
			if err != nil {
				return 0, err
			}
			n += k
		}
	}
	return n, nil
}

// descriptors counts those that it has open.
func (p *process) descriptors() (int, error) {
	fds, err := os.ReadDir(p.proc("fd"))
	return len(fds), err
}

// cpu is the CPU time of all its threads up to now.
func (p *process) cpu() (time.Duration, error) {
	// The kernel's encoding of "CPU time of that process" as a clock.
	const cpuclockSched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|cpuclockSched), &t); err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", p.cmd.Process.Pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// callCounter counts bpf() calls of a process, those of threads to come included.
type callCounter []int

// countBPF counts from now on. The tracefs is mounted where the sandbox is.
func (p *process) countBPF() (c callCounter, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("count bpf() calls: %w", err), c.close())
		}
	}()
	dir := filepath.Join(baseDir, "tracing")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		return nil, fmt.Errorf("mount tracefs on %s: %w", dir, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "events/syscalls/sys_enter_bpf/id"))
	if err = errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)); err != nil {
		return nil, err
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return nil, err
	}
	tasks, err := os.ReadDir(p.proc("task"))
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return c, err
		}
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit}
		attr.Size = unix.PERF_ATTR_SIZE_VER1
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return c, err
		}
		c = append(c, fd)
	}
	return c, nil
}

func (c callCounter) read() (n uint64, err error) {
	for _, fd := range c {
		var b [8]byte
		if _, err := unix.Read(fd, b[:]); err != nil {
			return 0, fmt.Errorf("read counter of bpf() calls: %w", err)
		}
		n += binary.NativeEndian.Uint64(b[:])
	}
	return n, nil
}

func (c callCounter) close() (err error) {
	for _, fd := range c {
		err = errors.Join(err, unix.Close(fd))
	}
	return err
}

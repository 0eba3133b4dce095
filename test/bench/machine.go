// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine says where the figures are from.
func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("Linux %s, %d CPUs", unix.ByteSliceToString(u.Release[:]), runtime.NumCPU())
}

// load is CPU time up to now.
type load struct {
	all time.Duration // of the whole machine, stolen time included
	own time.Duration // of this process and of those that it has waited for
}

func readLoad() (load, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return load{}, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return load{}, fmt.Errorf("read /proc/stat: %w", err)
	}
	var user, nice, system, idle, iowait, irq, softirq, steal int64
	if _, err := fmt.Sscan(strings.TrimPrefix(line, "cpu"), &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		return load{}, fmt.Errorf("read /proc/stat: %w", err)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture here
	l := load{all: time.Duration(user+nice+system+irq+softirq+steal) * tick}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			return load{}, fmt.Errorf("read own CPU time: %w", err)
		}
		l.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return l, nil
}

// noteLoad warns of figures from a busy machine: what others take of the CPUs also
// costs cache, and it costs every figure.
func (t *report) noteLoad(before, after load, took time.Duration) {
	others := (after.all - before.all) - (after.own - before.own)
	share := 100 * float64(others) / (float64(took) * float64(runtime.NumCPU()))
	t.note("other processes took %.0f %% of the CPUs during the run", max(share, 0))
	if share > 10 {
		t.note("the machine was busy: times are longer than on a quiet one; compare with the floors, not with the targets")
	}
}

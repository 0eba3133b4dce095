// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include "bpf/abi.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The programs' own view of what the loader writes and reads, as in bpf/abi.h.
type (
	kmConfig C.struct_km_config
	kmMeta   C.struct_km_meta
	kmStats  C.struct_km_stats
	kmNetns  C.struct_km_netns
)

const (
	abiVersion = uint32(C.KM_ABI_VERSION)
	maxNetns   = int(C.KM_MAX_NETNS)
	askNetns   = uint64(C.KM_NETNS_ASK)

	abiGone     = uint32(C.KM_ABI_GONE)
	metaABI     = uint32(unsafe.Offsetof(kmMeta{}.abi))
	metaEntries = uint32(unsafe.Offsetof(kmMeta{}.entries))
)

// kernel returns s as the programs of a mode read it.
func (s Settings) kernel(m Mode, v variant) kmConfig {
	c := kmConfig{manage: C.KM_MANAGE_ENROLLED}
	if m == Ads {
		c.outlier_failures = C.__u32(s.OutlierFailures)
		c.outlier_backoff = C.__u64(s.OutlierBackoff.Nanoseconds())
		c.outlier_backoff_max = C.__u64(s.OutlierBackoffMax.Nanoseconds())
	}
	// The coarse clocks advance by ticks. Zero, should it be unknown: what a
	// connect took is then unknown where its SYN was sent again.
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err == nil {
		c.tick = C.__u32(tick.Nano())
	}
	if s.ManageAll {
		c.manage = C.KM_MANAGE_ALL
	}
	if s.ControlAddress {
		c.control = 1
	}
	if v == variantConnectRet || v == variantSysExit {
		c.per_thread = 1
	}
	return c
}

// writeSettings puts the settings into the kernel where they differ.
func (k *node) writeSettings() error {
	if err := fault("settings"); err != nil {
		return loadError("write settings", "km_config", err, "")
	}
	var old kmConfig
	fd := k.fds["km_config"]
	if err := mapLookup(fd, uint32(0), &old); err != nil {
		return loadError("read settings", "km_config", err, "")
	}
	want := k.cfg.Settings.kernel(k.cfg.Mode, k.next.Variant)
	if old == want {
		return nil
	}
	if err := mapUpdate(fd, uint32(0), want); err != nil {
		return loadError("write settings", "km_config", err, "")
	}
	k.undo.push("write settings back", func() error { return mapUpdate(fd, uint32(0), old) })
	k.change("settings written")
	return nil
}

func newKmNetns(since uint64) kmNetns { return kmNetns{since: C.__u64(since)} }

// manageAll is Effective.Manage where every process below the cgroup is managed.
const manageAll = "all"

// effective reads the settings back from the kernel.
func effective(fd int) (Effective, error) {
	var c kmConfig
	if err := mapLookup(fd, uint32(0), &c); err != nil {
		return Effective{}, fmt.Errorf("read settings: %w", err)
	}
	e := Effective{Manage: "enrolled", ControlAddress: c.control != 0, OutlierDetection: c.outlier_failures != 0,
		OutlierFailures: uint32(c.outlier_failures), OutlierBackoff: time.Duration(c.outlier_backoff),
		OutlierBackoffMax: time.Duration(c.outlier_backoff_max)}
	if c.manage == C.KM_MANAGE_ALL {
		e.Manage = manageAll
	}
	return e, nil
}

// sumStats adds a per-CPU km_stats up.
func sumStats(fd int) (Rare, error) {
	n, err := possibleCPUs()
	if err != nil {
		return Rare{}, fmt.Errorf("count CPUs: %w", err)
	}
	const size = (unsafe.Sizeof(kmStats{}) + 7) &^ 7
	b := make([]byte, n*int(size))
	if err := mapLookupBytes(fd, uint32(0), b); err != nil {
		return Rare{}, fmt.Errorf("read km_stats: %w", err)
	}
	var sum Rare
	for i := 0; i < n; i++ {
		s := (*kmStats)(unsafe.Pointer(&b[i*int(size)]))
		sum.Restarts += uint64(s.restarts)
		sum.Overtaken += uint64(s.overtaken)
		sum.Uncounted += uint64(s.uncounted)
		sum.AllEjected += uint64(s.all_ejected)
	}
	return sum, nil
}

// netnsKeys lists the cookies of the enrolled namespaces.
func netnsKeys(fd int) ([]uint64, error) {
	var l []uint64
	var prev *uint64
	for len(l) <= maxNetns {
		next, err := mapNext(fd, prev)
		if errors.Is(err, os.ErrNotExist) {
			return l, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read km_netns: %w", err)
		}
		l = append(l, next)
		prev = &next
	}
	// A key that goes away while it is being read starts the walk again.
	return nil, fmt.Errorf("read km_netns: %w", unix.EAGAIN)
}

// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include "bpf/abi.h"

static __u32 netns_slot(__u64 cookie) { return KM_NETNS_SLOT(cookie); }
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// km_netns_slot answers for km_netns (see abi.h). The order of reads and writes is
// what keeps the two in step with other processes that do the same.

func slotOf(cookie uint64) uint32 { return uint32(C.netns_slot(C.__u64(cookie))) }

// slotAdd makes the slot of a cookie that is in km_netns say so. One with flags is
// always looked up.
func (h *Handles) slotAdd(cookie uint64) error {
	var entry kmNetns
	if err := mapLookup(h.fds["km_netns"], cookie, &entry); errors.Is(err, os.ErrNotExist) {
		return nil // it left in between
	} else if err != nil {
		return fmt.Errorf("read km_netns: %w", err)
	}
	var have uint64
	fd, i := h.fds["km_netns_slot"], slotOf(cookie)
	err := fault("enroll slot")
	if err == nil {
		err = mapLookup(fd, i, &have)
	}
	switch {
	case err == nil && entry.flags != 0 && have != askNetns:
		err = mapUpdate(fd, i, askNetns)
	case err == nil && have == 0:
		err = mapUpdate(fd, i, cookie)
	}
	if err != nil {
		return fmt.Errorf("write km_netns_slot: %w", err)
	}
	return nil
}

// slotAsk makes a slot that says something ask km_netns: what happens to that
// counts from then on, also when this process ends before slotDrop.
func (h *Handles) slotAsk(cookie uint64) error {
	var have uint64
	fd, i := h.fds["km_netns_slot"], slotOf(cookie)
	err := mapLookup(fd, i, &have)
	if err == nil && have != 0 {
		err = mapUpdate(fd, i, askNetns)
	}
	if err != nil {
		return fmt.Errorf("write km_netns_slot: %w", err)
	}
	return nil
}

// slotDrop makes the slot of a cookie that is no longer in km_netns right again.
// A slot that another cookie uses is never 0 on the way; one that is enrolled in
// between finds the 0, or is found by the second look.
func (h *Handles) slotDrop(cookie uint64) error {
	fd, i := h.fds["km_netns_slot"], slotOf(cookie)
	if err := fault("release slot"); err != nil {
		return fmt.Errorf("write km_netns_slot: %w", err)
	}
	value := uint64(0)
	for {
		shared, err := h.slotShared(i)
		if shared || err != nil {
			value = askNetns
		}
		if err := errors.Join(err, mapUpdate(fd, i, value)); err != nil {
			return fmt.Errorf("write km_netns_slot: %w", err)
		}
		if value != 0 {
			return nil
		}
		if shared, err = h.slotShared(i); err != nil || !shared {
			return err
		}
	}
}

// slotShared says whether a cookie of slot i is in km_netns.
func (h *Handles) slotShared(i uint32) (bool, error) {
	keys, err := netnsKeys(h.fds["km_netns"])
	return slices.ContainsFunc(keys, func(k uint64) bool { return slotOf(k) == i }), err
}

// slotRepair makes every slot right: an enrolment may have been killed before its
// slotAdd, and of two processes at once one may have written the other's.
func (h *Handles) slotRepair() (err error) {
	keys, err := netnsKeys(h.fds["km_netns"])
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := h.slotAdd(k); err != nil {
			return err
		}
	}
	slots, err := unix.Mmap(h.fds["km_netns_slot"], 0, 8*int(C.KM_NETNS_SLOTS), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("read km_netns_slot: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Munmap(slots)) }()
	for i := 0; i < len(slots); i += 8 {
		cookie := binary.NativeEndian.Uint64(slots[i:])
		if cookie == 0 || cookie == askNetns || slices.Contains(keys, cookie) {
			continue
		}
		if err := h.slotDrop(cookie); err != nil {
			return err
		}
	}
	return nil
}

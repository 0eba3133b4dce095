// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <arpa/inet.h>
#include <string.h>
#include "bpf/workload.h"

static void set_name(char *to, const char *from) { strncpy(to, from, KW_NAME - 1); }
static __be16 to_net(__u16 v) { return htons(v); }
*/
import "C"

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/internal/bpfmap"
)

type (
	kwNode   C.struct_kw_node
	kwStats  C.struct_kw_stats
	kwPstate C.struct_kw_pstate
	kwMeta   C.struct_kw_meta
	kwPeer   C.struct_kw_peer
)

const (
	workloadABI  = uint32(C.KW_ABI_VERSION)
	waypointPort = 15019
	defaultFlows = uint32(C.KW_FLOWS)
	// defaultWorkloads is how many the maps of the objects have room for, MinWorkloads the
	// least of Config.Workloads.
	defaultWorkloads = uint32(C.KW_WORKLOADS)
	MinWorkloads     = uint32(1024)
	// MinPolicySlots is the least of Config.PolicySlots, and its default.
	MinPolicySlots = uint32(C.KW_POLICY_SLOTS)
	// MaxName is the longest NodeName, Region, Zone or Subzone in bytes.
	MaxName = int(C.KW_NAME) - 1

	peerWaypoint = uint32(C.KW_PEER_WAYPOINT)
	peerWorkload = uint32(C.KW_PEER_WORKLOAD)

	wmetaABI      = uint32(unsafe.Offsetof(kwMeta{}.abi))
	pstateWord    = uint32(unsafe.Offsetof(kwPstate{}.word))
	pstateRetired = uint32(unsafe.Offsetof(kwPstate{}.retired))
)

// kernel returns w as the programs and the writer read it.
func (w *WorkloadSettings) kernel() kwNode {
	n := kwNode{waypoint_port: C.to_net(C.__u16(w.WaypointPort))}
	for _, s := range []struct {
		to   *[C.KW_NAME]C.char
		from string
	}{{&n.name, w.NodeName}, {&n.region, w.Region}, {&n.zone, w.Zone}, {&n.subzone, w.Subzone}} {
		for i := range min(len(s.from), MaxName) {
			s.to[i] = C.char(s.from[i])
		}
	}
	return n
}

// writeNode puts the settings of workload mode into the kernel where they differ.
func (k *node) writeNode() error {
	var old kwNode
	fd := k.fds["km_node"]
	if err := mapLookup(fd, uint32(0), &old); err != nil {
		return loadError("read settings", "km_node", err, "")
	}
	if want := k.cfg.Workload.kernel(); old != want {
		if err := mapUpdate(fd, uint32(0), want); err != nil {
			return loadError("write settings", "km_node", err, "")
		}
		k.undo.push("write settings back", func() error {
			return errors.Join(mapUpdate(fd, uint32(0), old), k.deriveAnew())
		})
		k.change("node settings written")
	}
	if err := k.writePstate(); err != nil {
		return loadError("write settings", "km_pstate", err, "")
	}
	return nil
}

// withPstate gives do the one entry of a km_pstate, shared with the kernel: word is
// the writer's, and no update of the whole entry may put an old one back.
func withPstate(fd int, do func(*kwPstate)) error {
	b, err := bpfmap.Map(fd, int(unsafe.Sizeof(kwPstate{})))
	if err != nil {
		return fmt.Errorf("map km_pstate: %w", err)
	}
	do((*kwPstate)(unsafe.Pointer(&b[0])))
	return unix.Munmap(b)
}

// writePstate makes km_pstate fit km_policy and the settings.
func (k *node) writePstate() error {
	fd := k.fds["km_pstate"]
	exempt, native := k.cfg.judging()
	generation, err := k.oldGeneration()
	if err != nil {
		return err
	}
	var oldExempt, oldNative uint32
	fresh := false
	err = withPstate(fd, func(p *kwPstate) {
		if p.half_shift == 0 { // new: verdicts of the one before are of an older generation
			fresh = true
			p.half_shift = C.__u32(bits.TrailingZeros32(k.cfg.PolicySlots))
			p.word = C.__u64(generation+1) << 1
		}
		oldExempt, oldNative = swapSettings(p, exempt, native)
	})
	if err != nil || fresh || oldExempt == exempt && oldNative == native {
		return err
	}
	k.undo.push("write settings back", func() error {
		err := withPstate(fd, func(p *kwPstate) { swapSettings(p, oldExempt, oldNative) })
		return errors.Join(err, k.judgeAnew())
	})
	k.rejudge = oldExempt != exempt
	k.change("settings of xdpauth written")
	return nil
}

// judging are the settings that packets are judged by.
func (c *Config) judging() (exempt, native uint32) {
	if !c.Workload.JudgeNode {
		exempt = 1
	}
	if c.XDPMode == XDPNative {
		native = 1
	}
	return exempt, native
}

// swapSettings stores the settings that packets are judged by.
func swapSettings(p *kwPstate, exempt, native uint32) (oldExempt, oldNative uint32) {
	return atomic.SwapUint32((*uint32)(&p.exempt), exempt), atomic.SwapUint32((*uint32)(&p.native), native)
}

// oldGeneration is that of verdicts in the km_pstate that gave way to a new one.
func (k *node) oldGeneration() (uint64, error) {
	if k.oldPstate < 0 {
		return 0, nil
	}
	var word uint64
	err := k.withOldPstate("word", pstateWord, func(at unsafe.Pointer) { word = atomic.LoadUint64((*uint64)(at)) })
	return word >> 1, err
}

// withOldPstate gives do a field of the km_pstate that gave way, which another build may
// have laid out; here is where this one has it.
func (k *node) withOldPstate(name string, here uint32, do func(unsafe.Pointer)) error {
	l, err := k.kernel.of(k.oldPstate)
	if err != nil {
		return fmt.Errorf("map km_pstate: %w", err)
	}
	b, err := bpfmap.Map(k.oldPstate, int(l.ValueSize))
	if err != nil {
		return fmt.Errorf("map km_pstate: %w", err)
	}
	if at := l.word(name, here); int(at)+8 <= len(b) {
		do(unsafe.Pointer(&b[at]))
	}
	return unix.Munmap(b)
}

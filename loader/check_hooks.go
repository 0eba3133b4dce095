// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"strings"
)

// hooks finds others' programs where kmesh-node's are to run, and at once whose they are.
func (r *Report) hooks(cfg *Config) {
	there, err := cgroup2.check(cfg.Cgroup2Path)
	if err != nil || !there {
		return // what is not mounted has no programs that are known of
	}
	own := ownPrograms(cfg)
	l, err := foreignOnCgroup(cfg.Mode, cfg.Cgroup2Path, own)
	f := Finding{Name: "others' programs", OK: err == nil && len(l) == 0, Detail: "none on the hooks of " + cfg.Cgroup2Path,
		For: "connects of the cgroup"}
	if err != nil {
		f.Detail, f.Remedy = err.Error(), "see: bpftool cgroup tree "+cfg.Cgroup2Path
		r.add(f)
		return
	}
	var names []string
	for _, p := range l {
		names = append(names, fmt.Sprintf("%s (id %d) at %s of %s", p.Name, p.ID, p.Hook, p.Target))
		if p.Alone {
			f.Required = true
		}
	}
	switch {
	case f.Required:
		f.Detail = "one lets nobody else in: " + strings.Join(names, ", ")
		f.Remedy = "detach it (see: bpftool cgroup tree), or give --cgroup2-path another cgroup"
	case len(l) > 0:
		f.Detail = "they run beside kmesh-node's: " + strings.Join(names, ", ")
		f.Remedy = "no harm where they leave destinations alone; of two that rewrite one the last wins (see: bpftool cgroup tree)"
	}
	r.add(f)
	if cfg.Mode == Workload {
		r.devices(cfg, own)
	}
}

// devices finds others' XDP programs on the devices of enrolled pods.
func (r *Report) devices(cfg *Config, own map[uint32]bool) {
	s, err := GetStatus(cfg)
	if err != nil {
		return // nothing is enrolled
	}
	var names []string
	for _, p := range s.Foreign {
		if p.Hook == xdpHook && !own[p.ID] {
			names = append(names, fmt.Sprintf("%s (id %d) on %s", p.Name, p.ID, p.Target))
		}
	}
	f := Finding{Name: "others' XDP programs", OK: len(names) == 0, Detail: "none on devices of enrolled pods", For: "xdpauth: authorization"}
	if !f.OK {
		f.Detail = strings.Join(names, ", ")
		f.Remedy = "take them off (see: ip link show): a device takes one XDP program, and up fails where it is not kmesh-node's"
	}
	r.add(f)
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"
	"slices"
)

// verifyAll loads every program of every mode, over maps of its own that go away again.
func verifyAll(cfg *Config) ([]ProgramStatus, error) {
	var out []ProgramStatus
	for _, m := range modes {
		l, err := verifyMode(cfg.withMode(m))
		if err != nil {
			return nil, err
		}
		out = append(out, l...)
	}
	return out, nil
}

func verifyMode(cfg *Config) (out []ProgramStatus, err error) {
	rows := programsOf(cfg.Mode)
	if !hasKernelBTF() { // libbpf cannot name their tracepoint: a finding of its own
		rows = slices.DeleteFunc(rows, func(r program) bool { return r.hook.kind == onBtfTracepoint })
	}
	k := &node{Handles: Handles{cfg: cfg}, t: cfg.tree(), log: cfg.Log, rows: rows, recordFd: -1}
	fds := map[string]int{}
	defer k.Close()
	for _, name := range objects(cfg.Mode, rows) {
		cfg.Doing("verify " + name)
		o, err := openObject(cfg, name, rows)
		if err != nil {
			return nil, err
		}
		k.objs = append(k.objs, o)
		for _, m := range sorted(o.maps) {
			if fd, ok := fds[m]; ok {
				if err := o.reuse(m, fd); err != nil {
					return nil, loadError("load object", name, err, "build kmesh-node again")
				}
			}
		}
		if err := o.load(cfg.RunDir); err != nil {
			return nil, err
		}
		for m, b := range o.maps {
			if _, ok := fds[m]; !ok {
				fds[m] = b.FileDescriptor()
			}
		}
	}
	for _, r := range rows {
		for _, o := range k.objs {
			p := o.progs[r.name]
			if p == nil {
				continue
			}
			info, err := progInfoOf(p.FileDescriptor())
			if err != nil {
				return nil, fmt.Errorf("program %s: %w", r.name, err)
			}
			out = append(out, ProgramStatus{Mode: cfg.Mode, Name: r.name, ID: info.ID, Tag: fmt.Sprintf("%x", info.Tag), Hook: r.hook.String(), Verified: info.Verified})
		}
	}
	return out, nil
}

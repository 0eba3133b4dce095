// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Figures is a Status of what can be read without a search of the host: nothing about
// others' programs and processes, and no device of a pod that has no link. It is for
// those who ask often; h must be open.
func (h *Handles) Figures() (*Status, error) {
	t := h.cfg.tree()
	rec, err := t.load()
	if err != nil {
		return nil, notUp("read figures", t)
	}
	s := &Status{Mode: h.cfg.Mode, Release: rec.Release, Build: rec.Build, Generation: rec.Generation, Cgroup: rec.Cgroup,
		ConnectRet: Tracepoint{string(rec.Variant), rec.Why}}
	if s.Mode == Workload {
		s.Workload = &WorkloadStatus{XDPMode: rec.XDPMode}
	}
	for _, m := range mapsOf(s.Mode) {
		if err := s.readMap(m.name, h.fds[m.name]); err != nil {
			return nil, fmt.Errorf("map %s: %w", m.name, err)
		}
	}
	for _, r := range wanted(s.Mode, rec.Variant) {
		if err := s.readFigures(t, rec, r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Status) readFigures(t tree, rec *record, r program) error {
	id, err := s.readProgram(t, rec, r)
	switch {
	case err != nil || r.hook.kind == byTailCall:
		return err
	case rec.Unlinked[r.name] != 0:
		return s.readUnlinked(t, rec, r, id)
	case r.hook.kind != onPodNIC:
		return s.readLink(t, rec, r, id)
	}
	links, err := t.nicLinks()
	if err != nil {
		return err
	}
	for _, c := range sorted(links) {
		for _, name := range links[c] {
			if _, err := s.readNIC(t, name, fmt.Sprintf("namespace %d", c), "", id); err != nil {
				return err
			}
		}
	}
	return nil
}

// ProgramStats says whether the kernel counts runs of programs now
// (kernel.bpf_stats_enabled).
func ProgramStats() (bool, error) {
	b, err := os.ReadFile("/proc/sys/kernel/bpf_stats_enabled")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // built without CONFIG_SYSCTL
	}
	return strings.TrimSpace(string(b)) == "1", err
}

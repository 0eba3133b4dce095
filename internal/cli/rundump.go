// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/internal/store"
	"github.com/kmesh-net/kmesh-node/internal/xds"
	"github.com/kmesh-net/kmesh-node/loader"
)

// section is what a dump has of one kind: what `get` prints of all of them.
type section struct {
	plural string
	n      int
	at     func(i int) (any, error)
}

func sectionOf[T any](plural string, l []T) section {
	return section{plural, len(l), func(i int) (any, error) { return l[i], nil }}
}

// dump reads one kind, or all of them for "", and returns what writes it: the list that
// `get KIND -o json` prints, or an object of those lists. There is one dump at a time, until
// it is written: what it is of may be much of this process's memory.
func (a *adminPart) dump(ctx context.Context, kind string) (func(io.Writer) error, error) {
	var one string
	if kind != "" {
		n, err := nounOf(a.d.cfg.Mode, kind, toGet)
		if err != nil {
			return nil, err
		}
		one = n.plural
	}
	type result struct {
		l   []section
		err error
	}
	c := make(chan result)
	select {
	case a.dumping <- struct{}{}:
	case <-ctx.Done():
		return nil, inUse("dump")
	}
	over := func() { <-a.dumping }
	go func() {
		l, err := a.read(func(plural string) bool { return one == "" || one == plural })
		select {
		case c <- result{l, err}:
		case <-ctx.Done():
			over()
		}
	}()
	select {
	case r := <-c:
		if r.err != nil {
			over()
			return nil, r.err
		}
		return func(w io.Writer) error {
			defer over()
			if one != "" {
				return writeSection(w, &r.l[0], "")
			}
			return writeSections(w, a.d.cfg.Mode, r.l)
		}, nil
	case <-ctx.Done():
		return nil, inUse("dump")
	}
}

func (a *adminPart) sections(wanted func(string) bool) ([]section, error) {
	var l []section
	var err error
	if a.d.cfg.Mode == loader.Workload {
		l, err = a.workloadSections(wanted)
	} else {
		l, err = a.adsSections(wanted)
	}
	if err != nil || !wanted("enrolled") {
		return l, err
	}
	err = a.d.keeper.Handles(func(h *loader.Handles) error {
		enrolled, err := h.Enrolled()
		l = append(l, sectionOf("enrolled", enrolled))
		return err
	})
	return l, err
}

func (a *adminPart) adsSections(wanted func(string) bool) (l []section, err error) {
	const step = "dump"
	err = a.d.keeper.Ads(func(s *store.Store, _ *loader.Handles) error {
		l = nil
		for _, k := range []struct {
			plural string
			kind   config.Kind
		}{{"listeners", config.Listener}, {"clusters", config.Cluster}, {"routes", config.Route}} {
			if !wanted(k.plural) {
				continue
			}
			found, err := find(s, step, k.kind, "")
			if err != nil {
				return err
			}
			l = append(l, section{k.plural, len(found), func(i int) (any, error) { return xds.Render(found[i]) }})
		}
		if !wanted("endpoints") {
			return nil
		}
		clusters, err := find(s, step, config.Cluster, "")
		if err != nil {
			return err
		}
		data, err := endpointsOf(s, step, clusters)
		l = append(l, sectionOf("endpoints", data))
		return err
	})
	return l, err
}

// workloadSections reads with a writer of its own: the one of the keeper goes by what it
// wrote, and a dump is what the maps hold.
func (a *adminPart) workloadSections(wanted func(string) bool) (l []section, err error) {
	if !wanted("services") && !wanted("workloads") && !wanted("policies") {
		return nil, nil
	}
	h, err := loader.OpenPinned(a.d.cfg)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	s, err := h.OpenWorkload()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, add := range []func() error{
		addRendered(&l, wanted, "services", s.Services, messageOfService),
		addRendered(&l, wanted, "workloads", s.Workloads, messageOfWorkload),
		addRendered(&l, wanted, "policies", s.Policies, messageOfPolicy),
	} {
		if err := add(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func addRendered[V any](l *[]section, wanted func(string) bool, plural string, read func() ([]V, error), message func(V) proto.Message) func() error {
	return func() error {
		if !wanted(plural) {
			return nil
		}
		views, err := read()
		*l = append(*l, sectionOf(plural, render(views, message)))
		return err
	}
}

// writeSections writes an object whose members are the sections.
func writeSections(w io.Writer, mode loader.Mode, l []section) error {
	if _, err := fmt.Fprintf(w, "{\n%s\"mode\": %q", indentation, mode); err != nil {
		return err
	}
	for i := range l {
		if _, err := fmt.Fprintf(w, ",\n%s%q: ", indentation, l[i].plural); err != nil {
			return err
		}
		if err := writeSection(w, &l[i], indentation); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\n}\n")
	return err
}

// writeSection writes a list, one element after the other: all of it as JSON may be much
// more than what it is of. prefix begins each line but the first.
func writeSection(w io.Writer, s *section, prefix string) error {
	if s.n == 0 {
		return writeAll(w, "[]", endOf(prefix))
	}
	for i := range s.n {
		data, err := s.at(i)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := jsonTo(&b, prefix+indentation).Encode(data); err != nil {
			return fmt.Errorf("write %s: %w", s.plural, err)
		}
		before := ",\n"
		if i == 0 {
			before = "[\n"
		}
		if err := writeAll(w, before, prefix, indentation, strings.TrimSuffix(b.String(), "\n")); err != nil {
			return err
		}
	}
	return writeAll(w, "\n", prefix, "]", endOf(prefix))
}

// endOf is what ends a list that stands alone.
func endOf(prefix string) string {
	if prefix == "" {
		return "\n"
	}
	return ""
}

func writeAll(w io.Writer, words ...string) error {
	for _, s := range words {
		if _, err := io.WriteString(w, s); err != nil {
			return err
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// faultModes are the modes that each fault is tried in.
var faultModes = []string{"workload", "ads"}

// faultSite is a host of one mode and what connects while it is hurt: a client whose
// service leads to one endpoint or to another, and in workload mode a server that lets
// nobody in.
type faultSite struct {
	*node
	net      *fabric
	pod      *pod // the client's
	c        *client
	server   *pod
	stranger *client
	// docs[i] leads vipA to endpoints[i]. With flags[0] and flags[1] in turn each up
	// loads its programs anew, and replaces links or maps.
	docs      [2]string
	endpoints [2]string
	flags     [2][]string
}

func newFaultSite(t testing.TB, mode string) *faultSite {
	t.Helper()
	s := &faultSite{node: newNodeOf(t, mode), net: newFabric(t), endpoints: [2]string{at(ip1, 8080), at(ip2, 8080)}}
	s.net.pod(t).serveFast(vipA, s.endpoints[0], s.endpoints[1])
	s.pod = s.net.pod(t, clientIP)
	s.c = s.pod.client(0)
	s.server = s.net.pod(t, serverIP)
	s.server.serveFast(at(serverIP, 7000))
	s.stranger = s.net.pod(t, "10.1.0.8").client(0)
	if mode == "workload" {
		s.docs[0] = s.write(wds(serviceA(), a1(), wpod("p", serverIP)), denyAll())
		s.docs[1] = s.write(wds(serviceA(), wpod("a2", ip2, serves("a")), wpod("p", serverIP)), denyAll())
		s.flags[1] = []string{"--policy-slots", "8192"}
		return s
	}
	for i, to := range s.endpoints {
		s.docs[i] = s.write(cds(static("a", to)), lds(listener(vipA, toCluster("a"))))
	}
	s.flags[1] = []string{"--connect-ret", "off"}
	return s
}

// ready brings everything up: docs[0] is what holds.
func (s *faultSite) ready() {
	s.t.Helper()
	s.up(s.flags[0]...)
	s.enroll(s.pod)
	s.enroll(s.server)
	s.want(exitDone, "apply", "-f", s.docs[0])
	s.whole("ready", 0)
}

// whole asks for all of the data plane to do its work, with docs[doc].
func (s *faultSite) whole(when string, doc int) {
	s.t.Helper()
	if got := s.c.spread(vipA, 1); got[s.endpoints[doc]] != 1 {
		s.t.Errorf("%s: a connection to %s went%v, want %s", when, vipA, got, s.endpoints[doc])
	}
	if s.mode == "workload" && !denied(s.stranger, at(serverIP, 7000)) {
		s.t.Errorf("%s: a connection that is denied was let in", when)
	}
}

// in returns the same for a subtest.
func (s *faultSite) in(t testing.TB) *faultSite {
	c := *s
	c.node = s.node.in(t)
	return &c
}

// load is a thread that connects without pause.
type load struct {
	stop chan struct{}
	got  chan map[target]int
}

// connects starts to connect to dst, from the pod.
func (p *pod) connects(dst string) *load {
	p.t.Helper()
	l := &load{make(chan struct{}), make(chan map[target]int, 1)}
	ready := make(chan struct{})
	go func() {
		to, got := netip.MustParseAddrPort(dst), map[target]int{}
		began := sync.OnceFunc(func() { close(ready) })
		err := inNamespace(p.path, func() error {
			for {
				select {
				case <-l.stop:
					return nil
				default:
					got[connect(to)]++
					began()
				}
			}
		})
		if err != nil {
			got[target{err: err}]++
			began()
		}
		l.got <- got
	}()
	<-ready
	return l
}

// onlyTo ends it and asks for every connection to have gone to one of these.
func (l *load) onlyTo(t testing.TB, addrs ...string) (made int) {
	t.Helper()
	close(l.stop)
	for to, n := range name(<-l.got) {
		made += n
		if !slices.Contains(addrs, to) {
			t.Errorf("%d connections went to %s", n, to)
		}
	}
	return made
}

// state is all of what a failed command must leave as it was, by name: pins with their
// objects' ids, what links run, what is enrolled and set, mounts, and files.
func (s *faultSite) state() map[string]string {
	s.t.Helper()
	st := map[string]string{}
	for _, pin := range s.pins() {
		path := filepath.Join(s.bpf, pin)
		if fi, err := os.Lstat(path); err != nil || fi.IsDir() {
			st[pin] = "directory"
			continue
		}
		what, err := describe(path)
		if err != nil {
			s.t.Fatal(err)
		}
		st[pin] = what
	}
	mounts, err := readMounts()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range mounts {
		st["mount "+m.point] += m.fsType + " "
	}
	files := hostState{}
	if err := files.addFiles("file", "/run/kmesh-node"); err != nil {
		s.t.Fatal(err)
	}
	for f := range files {
		if strings.HasPrefix(filepath.Base(f), "store-") {
			f = "file of the store's lock" // it bears the id of a map
		}
		st[f] = "it is there"
	}
	return st
}

// settled maps are changed by commands alone.
var settledMaps = []string{"km_config", "km_netns", "km_node", "km_tail4", "km_tail6", "km_tail_msg", "meta"}

// describe says what is pinned at path, and what is in it where nothing but commands
// changes that.
func describe(path string) (string, error) {
	fd, err := openPin(path)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	info, err := fdinfo(fd)
	if err != nil {
		return "", err
	}
	if id := info["link_id"]; id != "" {
		return "link " + id + " of prog " + info["prog_id"] + " ifindex " + info["ifindex"], nil
	}
	if id := info["prog_id"]; id != "" {
		return "prog " + id, nil
	}
	what := "map " + info["map_id"]
	if !slices.Contains(settledMaps, filepath.Base(path)) {
		return what, nil
	}
	elems, err := elements(fd, info)
	return what + " " + elems, err
}

// elements returns all of a map's elements, in hexadecimal, sorted.
func elements(fd int, info map[string]string) (string, error) {
	size := func(name string) int {
		n, err := strconv.Atoi(info[name])
		if err != nil {
			return 0
		}
		return n
	}
	key, next, value := []byte(nil), make([]byte, size("key_size")), make([]byte, size("value_size"))
	var l []string
	for {
		err := mapCommand(unix.BPF_MAP_GET_NEXT_KEY, fd, key, next)
		if errors.Is(err, unix.ENOENT) {
			slices.Sort(l)
			return strings.Join(l, " "), nil
		}
		if err != nil {
			return "", fmt.Errorf("next key: %w", err)
		}
		key = slices.Clone(next)
		err = mapCommand(unix.BPF_MAP_LOOKUP_ELEM, fd, key, value)
		if errors.Is(err, unix.ENOENT) {
			continue // a slot of an array of programs that is empty
		}
		if err != nil {
			return "", fmt.Errorf("look up: %w", err)
		}
		l = append(l, hex.EncodeToString(key)+"="+hex.EncodeToString(value))
	}
}

// changes lists what differs between two states.
func changes(before, after map[string]string) string {
	var l []string
	for _, k := range slices.Sorted(maps.Keys(after)) {
		if old, ok := before[k]; !ok {
			l = append(l, "left behind: "+k+" "+after[k])
		} else if old != after[k] {
			l = append(l, "changed: "+k+" from "+old+" to "+after[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[k]; !ok {
			l = append(l, "taken away: "+k)
		}
	}
	return strings.Join(l, "\n")
}

// named is a state without the kernel's ids.
func named(state map[string]string) map[string]string {
	st := maps.Clone(state)
	for k, v := range st {
		if strings.HasPrefix(v, "link ") || strings.HasPrefix(v, "prog ") || strings.HasPrefix(v, "map ") {
			st[k], _, _ = strings.Cut(v, " ")
		}
	}
	return st
}

// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <bpf/bpf.h>

static int query(int target, __u32 type, __u32 flags, __u32 *ids, __u32 *n, __u32 *attach)
{
	return bpf_prog_query(target, type, flags, attach, ids, n);
}

static int prog_maps(int fd, __u32 *ids, __u32 *n)
{
	struct bpf_prog_info i = {.nr_map_ids = *n, .map_ids = (__u64)(unsigned long)ids};
	__u32 size = sizeof(i);
	int rc = bpf_prog_get_info_by_fd(fd, &i, &size);

	*n = i.nr_map_ids;
	return rc;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Foreign is a program of another's that runs where kmesh-node's do.
type Foreign struct {
	Hook   string `json:"hook"`
	Target string `json:"target"` // a cgroup, or a device of a pod
	ID     uint32 `json:"id"`
	Name   string `json:"name"`
	// Alone: it lets nobody else in, so kmesh-node cannot attach.
	Alone bool `json:"alone,omitempty"`
}

// xdpHook is Foreign.Hook of one on a device.
const xdpHook = "xdp"

// queryMost is how many programs a cgroup takes on one hook.
const queryMost = 64

// queryCgroup lists the ids of the programs of a hook that run for a cgroup, those of
// cgroups above it too with effective, and whether they let others in.
func queryCgroup(fd int, attachType uint32, effective bool) (ids []uint32, alone bool, err error) {
	// A cgroup has 64 at most; above it each has as many.
	var buf [16 * queryMost]C.__u32
	n, flags := C.__u32(len(buf)), C.__u32(0)
	how := C.__u32(0)
	if effective {
		how = C.BPF_F_QUERY_EFFECTIVE
	}
	if err := errno(C.query(C.int(fd), C.__u32(attachType), how, &buf[0], &n, &flags)); err != nil {
		return nil, false, err
	}
	for _, id := range buf[:n] {
		ids = append(ids, uint32(id))
	}
	return ids, !effective && n > 0 && flags == 0, nil
}

// foreignOnCgroup lists others' programs on the hooks of mode m that run for the cgroup at path.
func foreignOnCgroup(m Mode, path string, own map[uint32]bool) (l []Foreign, err error) {
	cg, err := openCgroup(path)
	if err != nil {
		return nil, fmt.Errorf("open cgroup %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Close(cg.fd)) }()
	for _, r := range programsOf(m) {
		if r.hook.kind != onCgroup {
			continue
		}
		here, alone, err := queryCgroup(cg.fd, r.hook.attachType, false)
		if err != nil {
			return nil, fmt.Errorf("ask for the programs of %s at %s: %w", path, r.hook, err)
		}
		all, _, err := queryCgroup(cg.fd, r.hook.attachType, true)
		if err != nil {
			return nil, fmt.Errorf("ask for the programs of %s at %s: %w", path, r.hook, err)
		}
		for _, id := range all {
			if own[id] {
				continue
			}
			f := Foreign{Hook: r.hook.String(), Target: path, ID: id, Name: progName(id), Alone: alone}
			if !slices.Contains(here, id) {
				f.Target = "above " + path
			}
			l = append(l, f)
		}
	}
	return l, nil
}

// progName is a program's name, "" where it is gone by now, or has none.
func progName(id uint32) string {
	fd, err := byID(progDir, id)
	if err != nil {
		return ""
	}
	info, err := progInfoOf(fd)
	if errors.Join(err, unix.Close(fd)) != nil {
		return ""
	}
	return info.Name
}

// ownPrograms are the ids of what is loaded where cfg says, of both modes.
func ownPrograms(cfg *Config) map[uint32]bool {
	own := map[uint32]bool{}
	for _, m := range modes {
		rec, err := cfg.withMode(m).tree().load()
		if err != nil {
			continue // nothing of that mode is up
		}
		for _, id := range rec.Progs {
			own[id] = true
		}
	}
	return own
}

// mapsOfProgram are the ids of the maps that a program uses.
func mapsOfProgram(fd int) (ids []uint32, err error) {
	var buf [64]C.__u32 // as many as a program may use
	n := C.__u32(len(buf))
	if err := errno(C.prog_maps(C.int(fd), &buf[0], &n)); err != nil {
		return nil, err
	}
	for _, id := range buf[:min(int(n), len(buf))] {
		ids = append(ids, uint32(id))
	}
	return ids, nil
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// An sk_msg program is attached to a map of sockets: by a link from Linux 6.12 on,
// before that in the old way, which nothing pins and which lasts as long as the map.
// A socket keeps the program that its map had when it came in.

// linkSockMap makes the link; EINVAL where the kernel has none for maps of sockets.
var linkSockMap = linkCreate

func (k *node) attachSockMap(r program, _ cgroup) error {
	target := k.fds[r.hook.target]
	m, err := mapInfoOf(target)
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	old, info, err := k.ownLink(r)
	if err != nil {
		return err
	}
	if old >= 0 && info.onSockMap(m.ID) {
		k.next.Links[r.name] = info.ID
		return k.keepLink(r, old, info)
	}
	link, err := linkSockMap(k.progs[r.name], target, r.hook.attachType)
	if errors.Is(err, unix.EINVAL) {
		return k.attachOldWay(r, target)
	}
	if err != nil {
		return attachError("attach", r.name+" at "+r.hook.String(), err, r.hook.remedy(err))
	}
	return k.pinLink(r, link, old >= 0)
}

// onSockMap says whether the link is on the map of that id.
func (l linkInfo) onSockMap(id uint32) bool { return l.Type == linkTypeSockMap && l.SockMap == id }

// keepLink makes a link that is in its place run k's program.
func (k *node) keepLink(r program, link int, info linkInfo) error {
	prog, err := progInfoOf(k.progs[r.name])
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	if info.Prog == prog.ID {
		return nil
	}
	_, err = k.updateLink(r, link, info.Prog)
	return err
}

// attachOldWay attaches without a link.
func (k *node) attachOldWay(r program, target int) error {
	prog, err := progInfoOf(k.progs[r.name])
	if err != nil {
		return attachError("attach", r.name, err, "")
	}
	id, err := attachedOldWay(target, r, k.found)
	if err != nil {
		return attachError("attach", r.name+" at "+r.hook.String(), err, "")
	}
	k.next.Unlinked = map[string]uint32{r.name: prog.ID}
	if id == prog.ID {
		return nil
	}
	old := -1
	if id != 0 {
		if old, err = byID(progDir, id); err != nil && !errors.Is(err, os.ErrNotExist) {
			return attachError("attach", r.name, fmt.Errorf("open the program before it: %w", err), "")
		}
		if old >= 0 {
			k.held = append(k.held, old)
		}
	}
	fd := k.progs[r.name]
	if err := progAttach(fd, target, r.hook.attachType); err != nil {
		return attachError("attach", r.name+" at "+r.hook.String(), err, "")
	}
	k.undo.push("detach "+r.name, func() error {
		if old >= 0 {
			return progAttach(old, target, r.hook.attachType)
		}
		return progDetach(fd, target, r.hook.attachType)
	})
	k.change("attached without a link: " + r.name + " at " + r.hook.String())
	return nil
}

// attachedOldWay is the id of the program that the map has, 0 for none. A kernel
// before 5.16 does not tell: then it is what the last `up` attached.
func attachedOldWay(target int, r program, rec *record) (uint32, error) {
	id, err := progQuery(target, r.hook.attachType)
	if errors.Is(err, unix.EINVAL) {
		return rec.Unlinked[r.name], nil
	}
	return id, err
}

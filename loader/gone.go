// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <bpf/bpf.h>
*/
import "C"

import (
	"slices"
	"time"
)

// goneTimeout is how long to wait for the kernel to free what nothing holds any
// more; a few RCU grace periods and a turn of its work queue, 30 ms in general.
const goneTimeout = 2 * time.Second

// kernelObject is a program, map or link by id.
type kernelObject struct {
	dir dir
	id  uint32
}

// objectOf is what fd refers to.
func objectOf(d dir, fd int) (kernelObject, error) {
	o := kernelObject{dir: d}
	var err error
	switch d {
	case mapDir:
		var i mapInfo
		i, err = mapInfoOf(fd)
		o.id = i.ID
	case progDir:
		var i progInfo
		i, err = progInfoOf(fd)
		o.id = i.ID
	case linkDir:
		var i linkInfo
		i, err = linkInfoOf(fd)
		o.id = i.ID
	}
	return o, err
}

// exists asks for the next id after the one before, for that takes no reference.
// A descriptor would: one that is opened and closed while the kernel is about to
// empty a prog array makes it keep the array for ever (seen on 6.18).
func (o kernelObject) exists() bool {
	next, err := nextID(o.dir, o.id-1)
	return err == nil && next == o.id
}

// nextID is the lowest id above another one; ENOENT where there is none.
func nextID(d dir, id uint32) (uint32, error) {
	var next C.__u32
	rc := C.int(0)
	switch d {
	case mapDir:
		rc = C.bpf_map_get_next_id(C.__u32(id), &next)
	case progDir:
		rc = C.bpf_prog_get_next_id(C.__u32(id), &next)
	case linkDir:
		rc = C.bpf_link_get_next_id(C.__u32(id), &next)
	}
	return uint32(next), errno(rc)
}

// waitGone waits until the kernel has freed the objects, so that whoever looks
// after that finds nothing of them, and returns those that others hold.
func waitGone(l []kernelObject) []kernelObject {
	for end := time.Now().Add(goneTimeout); ; time.Sleep(time.Millisecond) {
		l = slices.DeleteFunc(l, func(o kernelObject) bool { return !o.exists() })
		if len(l) == 0 || time.Now().After(end) {
			return l
		}
	}
}

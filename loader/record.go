// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"

	"golang.org/x/sys/unix"
)

// record is what an `up` leaves in the pinned map `meta`: which build made what
// is there, under which names and ids. Object ids are never given out twice
// before a reboot, and no pin outlives one, so an id tells ours from another's.
type record struct {
	Version    int    `json:"version"`    // of this record: recordVersion
	Build      string `json:"build"`      // identity of objects and variant; empty: no `up` has ended
	Release    string `json:"release"`    // what people call the build
	Generation uint64 `json:"generation"` // number of times that this tree was changed

	Variant variant `json:"variant,omitempty"`
	Why     string  `json:"why,omitempty"`
	Cgroup  string  `json:"cgroup,omitempty"` // path, as given

	Maps  map[string]uint32 `json:"maps,omitempty"`
	Progs map[string]uint32 `json:"progs,omitempty"`
	Links map[string]uint32 `json:"links,omitempty"` // but for those on devices of pods
	// Unlinked are the programs by id that are attached without a link.
	Unlinked map[string]uint32 `json:"unlinked,omitempty"`
	XDPMode  string            `json:"xdp_mode,omitempty"`
}

const (
	recordVersion = 1
	recordSize    = 16384
	recordName    = "kmesh_meta"
)

var errBadRecord = errors.New("not a record that this build can read")

// openRecord opens the pinned map; os.ErrNotExist where there is none.
func openRecord(t tree) (int, error) {
	fd, err := pinGet(t.meta())
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", t.meta(), err)
	}
	info, err := mapInfoOf(fd)
	if err != nil || info.ValueSize != recordSize || info.MaxEntries != 1 {
		return -1, errors.Join(fmt.Errorf("open %s: %w", t.meta(), errBadRecord), err, unix.Close(fd))
	}
	return fd, nil
}

func createRecord(t tree, u *undo) (int, error) {
	fd, err := mapCreate(recordName, mapTypeArray, 4, recordSize, 1, 0)
	if err != nil {
		return -1, fmt.Errorf("create map %s: %w", recordName, err)
	}
	if err := pinPut(fd, t.meta()); err != nil {
		return -1, errors.Join(fmt.Errorf("pin %s: %w", t.meta(), err), unix.Close(fd))
	}
	u.push("unpin "+t.meta(), func() error { return os.Remove(t.meta()) })
	return fd, nil
}

func readRecord(fd int) (*record, error) {
	b := make([]byte, recordSize)
	if err := mapLookupBytes(fd, uint32(0), b); err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	n := binary.NativeEndian.Uint32(b)
	if n == 0 {
		return &record{Version: recordVersion}, nil
	}
	if n > recordSize-4 {
		return nil, fmt.Errorf("read record: %w", errBadRecord)
	}
	r := &record{}
	if err := json.Unmarshal(b[4:4+n], r); err != nil {
		return nil, fmt.Errorf("read record: %w: %w", errBadRecord, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("read record: version %d: %w", r.Version, errBadRecord)
	}
	return r, nil
}

func writeRecord(fd int, r *record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if len(b) > recordSize-4 {
		return fmt.Errorf("write record: %d bytes of %d: %w", len(b), recordSize-4, unix.ENOSPC)
	}
	v := make([]byte, recordSize)
	binary.NativeEndian.PutUint32(v, uint32(len(b)))
	copy(v[4:], b)
	if err := mapUpdateBytes(fd, uint32(0), v); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// load reads the tree's record without keeping it open.
func (t tree) load() (*record, error) {
	fd, err := openRecord(t)
	if err != nil {
		return nil, err
	}
	r, err := readRecord(fd)
	return r, errors.Join(err, unix.Close(fd))
}

// ids are the recorded ids of a folder's pins, by name.
func (r *record) ids(d dir) map[string]uint32 {
	switch d {
	case mapDir:
		return r.Maps
	case progDir:
		return r.Progs
	default:
		return r.Links
	}
}

// same says whether two records tell of the same state.
func (r *record) same(o *record) bool {
	return r.Build == o.Build && r.Release == o.Release && r.Generation == o.Generation && r.Variant == o.Variant &&
		r.Why == o.Why && r.Cgroup == o.Cgroup &&
		maps.Equal(r.Maps, o.Maps) && maps.Equal(r.Progs, o.Progs) && maps.Equal(r.Links, o.Links) &&
		maps.Equal(r.Unlinked, o.Unlinked) && r.XDPMode == o.XDPMode
}

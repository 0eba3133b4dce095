// SPDX-License-Identifier: Apache-2.0

package podrecord

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Boot is the kernel's name of this boot: a record of another one is of no namespace.
func Boot() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the name of this boot: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Identify says which file the namespace at path is now.
func Identify(path string) (dev, ino uint64, err error) {
	var st unix.Stat_t
	err = unix.Stat(path, &st)
	return uint64(st.Dev), st.Ino, err
}

// Shared says whether another attachment of the record's namespace stands.
func Shared(list []*Record, r *Record) bool {
	return slices.ContainsFunc(list, func(o *Record) bool {
		return o.Cookie == r.Cookie && o.Boot == r.Boot && !o.Released && (o.ContainerID != r.ContainerID || o.IfName != r.IfName)
	})
}

// InUse counts the attachments that a runtime may take back, those that cannot be read
// included.
func (d Dir) InUse() (int, error) {
	list, invalid, err := d.List()
	if err != nil || len(list) == 0 {
		return len(invalid), err
	}
	boot, err := Boot()
	n := len(invalid)
	for _, r := range list {
		if r.Boot == boot && !r.Released && r.InPlace() {
			n++
		}
	}
	return n, err
}

// InPlace says whether the record's path still names its namespace. Where it does not, the
// namespace may be alive all the same, under another path or by a process in it.
func (r *Record) InPlace() bool {
	dev, ino, err := Identify(r.Netns)
	return err == nil && dev == r.Dev && ino == r.Ino
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// dropStaleLocks removes the C store's locks whose store is gone: a `down` that is
// killed after the maps leaves one. An id is not given out twice. What cannot be
// removed now is so by the next up or down.
func dropStaleLocks(log *logrus.Logger) {
	prefix, suffix := filepath.Join(storeRunDir, "store-"), ".lock"
	files, err := filepath.Glob(prefix + "*" + suffix)
	if err != nil {
		log.Warnf("list locks of stores: %v", err)
	}
	for _, f := range files {
		id, err := strconv.ParseUint(f[len(prefix):len(f)-len(suffix)], 10, 32)
		if err != nil {
			continue // another's
		}
		fd, err := byID(mapDir, uint32(id))
		switch {
		case err == nil:
			err = unix.Close(fd)
		case errors.Is(err, os.ErrNotExist):
			err = removeFile(f)
		}
		if err != nil {
			log.Warnf("remove lock %s of a store that is gone: %v", f, err)
		}
	}
}

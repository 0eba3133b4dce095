// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// dropStaleLocks removes the C store's locks whose store is gone: a `down` that is
// killed after the maps leaves one. An id is not given out twice.
func dropStaleLocks() error {
	prefix, suffix := filepath.Join(storeRunDir, "store-"), ".lock"
	files, err := filepath.Glob(prefix + "*" + suffix)
	if err != nil {
		return err
	}
	var errs []error
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
			errs = append(errs, fmt.Errorf("remove lock %s of a store that is gone: %w", f, err))
		}
	}
	return errors.Join(errs...)
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/xdsclient"
	"github.com/kmesh-net/kmesh-node/loader"
)

// controlReport is how a live `run` gets on with its control plane. It is written down
// when it changes, for `status`: the client is in another process.
type controlReport struct {
	Pid       int               `json:"pid"`
	Address   string            `json:"address"`
	Variant   string            `json:"variant"`
	Name      string            `json:"name,omitempty"` // what it calls itself
	Connected bool              `json:"connected"`
	Since     time.Time         `json:"since"`  // of connected, as it is
	Synced    bool              `json:"synced"` // all that was asked for has come and is in force
	LastError string            `json:"last_error,omitempty"`
	Rejected  map[string]string `json:"rejected,omitempty"` // by type: what of its last response was not taken
	Text      string            `json:"text"`               // all that in a line
}

func reportOf(s xdsclient.State) controlReport {
	r := controlReport{Pid: os.Getpid(), Address: s.Address, Variant: string(s.Variant), Name: s.ControlPlane, Connected: s.Connected,
		Since: s.Since, Synced: s.Synced, LastError: s.LastError, Text: sayState(s)}
	for _, t := range s.Types {
		if t.LastError == "" {
			continue
		}
		if r.Rejected == nil {
			r.Rejected = map[string]string{}
		}
		r.Rejected[t.TypeURL] = t.LastError
	}
	return r
}

// readControl reads what the `run` of that process id wrote down; nil where it has no
// control plane.
func readControl(cfg *loader.Config, pid string) (*controlReport, error) {
	b, err := os.ReadFile(cfg.ControlFiles()[0])
	if errors.Is(err, fs.ErrNotExist) || pid == "" {
		return nil, nil
	}
	r := &controlReport{}
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read how run gets on with its control plane: %w", err)
	}
	if strconv.Itoa(r.Pid) != pid {
		return nil, nil // of one that was killed
	}
	return r, nil
}

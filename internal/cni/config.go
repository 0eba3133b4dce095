// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/loader"
)

// The values of failurePolicy: what becomes of a pod while kmesh-node is not there.
const (
	// Open lets it start unmanaged. It is enrolled when kmesh-node comes up.
	Open = "open"
	// Closed has it fail, and the runtime try again.
	Closed = "closed"
)

// Timeout is how long a call may take in all, if the configuration does not say.
const Timeout = 5 * time.Second

// The bounds of the timeout: a runtime gives up after some minutes.
const (
	leastTimeout = 100 * time.Millisecond
	mostTimeout  = time.Minute
)

// Settings are the fields of our own in the plugin's entry of a network configuration.
type Settings struct {
	BpfFsPath         string   `json:"bpfFsPath,omitempty"`
	FailurePolicy     string   `json:"failurePolicy,omitempty"`
	Timeout           string   `json:"timeout,omitempty"`
	LogLevel          string   `json:"logLevel,omitempty"`
	ExcludeNamespaces []string `json:"excludeNamespaces,omitempty"`
}

// over is s, and what was says where s says nothing. A list that is there and empty says
// that there is none.
func (s Settings) over(was Settings) Settings {
	s.BpfFsPath = cmp.Or(s.BpfFsPath, was.BpfFsPath)
	s.FailurePolicy = cmp.Or(s.FailurePolicy, was.FailurePolicy)
	s.Timeout = cmp.Or(s.Timeout, was.Timeout)
	s.LogLevel = cmp.Or(s.LogLevel, was.LogLevel)
	if s.ExcludeNamespaces == nil {
		s.ExcludeNamespaces = was.ExcludeNamespaces
	}
	return s
}

// config is a plugin's entry as the runtime hands it over.
type config struct {
	Settings
	timeout  time.Duration
	logLevel logrus.Level

	cniVersion string
	network    string
	prevResult json.RawMessage
	// attachments are those that are valid; nil: the runtime did not say.
	attachments []types.GCAttachment
}

// ours are the fields of Settings by name.
func (s *Settings) ours() map[string]any {
	return map[string]any{
		"bpfFsPath": &s.BpfFsPath, "failurePolicy": &s.FailurePolicy, "timeout": &s.Timeout,
		"logLevel": &s.LogLevel, "excludeNamespaces": &s.ExcludeNamespaces,
	}
}

// runtimes are the fields that the specification and runtimes add to any plugin's entry.
var runtimes = []string{
	"cniVersion", "cniVersions", "name", "type", "prevResult", "capabilities", "args", "runtimeConfig", "ipMasq", "ipam", "dns",
	"disableCheck", "disableGC", "loadOnlyInlinedPlugins", "deviceID", "pciBusID",
}

// parse reads an entry. What it does not know is refused where it looks like a field of
// ours, and else returned, for a warning: runtimes add fields of their own. With an error
// about a field, the first one, c is there all the same, and has the default in its place.
func parse(data []byte) (c *config, unknown []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, nil, types.NewError(types.ErrDecodingFailure, "read network configuration: "+err.Error(), "")
	}
	c = &config{}
	into := c.ours()
	own := slices.Sorted(maps.Keys(into))
	into["cniVersion"], into["name"], into["prevResult"] = &c.cniVersion, &c.network, &c.prevResult
	into["cni.dev/valid-attachments"] = &c.attachments
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if at := into[name]; at != nil {
			if e := json.Unmarshal(fields[name], at); e != nil {
				err = first(err, invalid(name, e, ""))
			}
			continue
		}
		if slices.Contains(runtimes, name) || strings.HasPrefix(name, "cni.dev/") {
			continue
		}
		if i := slices.IndexFunc(own, func(o string) bool { return similar(o, name) }); i >= 0 {
			err = first(err, invalid(name, errors.New("no such field"), "did you mean "+own[i]+"?"))
			continue
		}
		unknown = append(unknown, name)
	}
	if _, said := fields["cni.dev/valid-attachments"]; said && c.attachments == nil {
		c.attachments = []types.GCAttachment{} // null is how libcni says that there is none
	}
	if bytes.Equal(bytes.TrimSpace(c.prevResult), []byte("null")) {
		c.prevResult = nil
	}
	return c, unknown, first(err, c.check())
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// check fills in what is not given, or wrong, and names what is wrong.
func (c *config) check() (err error) {
	if c.BpfFsPath == "" {
		c.BpfFsPath = loader.Default().BpfFsPath
	}
	if !filepath.IsAbs(c.BpfFsPath) {
		err = invalid("bpfFsPath", fmt.Errorf("%q is no absolute path", c.BpfFsPath), "give the --bpf-fs-path of kmesh-node")
		c.BpfFsPath = loader.Default().BpfFsPath
	}
	if c.FailurePolicy == "" {
		c.FailurePolicy = Open
	}
	if c.FailurePolicy != Open && c.FailurePolicy != Closed {
		err = first(err, invalid("failurePolicy", fmt.Errorf("%q: it is %s or %s", c.FailurePolicy, Open, Closed), ""))
		c.FailurePolicy = Open
	}
	var e error
	if c.timeout, e = ParseTimeout(c.Timeout); e != nil {
		err = first(err, invalid("timeout", e, ""))
		c.timeout = Timeout
	}
	c.logLevel = logrus.WarnLevel
	if level, e := logrus.ParseLevel(c.LogLevel); e == nil {
		c.logLevel = level
	} else if c.LogLevel != "" {
		err = first(err, invalid("logLevel", fmt.Errorf("%q: it is trace, debug, info, warning or error", c.LogLevel), ""))
	}
	for i, n := range c.ExcludeNamespaces {
		if e := CheckNamespace(n); e != nil {
			err = first(err, invalid(fmt.Sprintf("excludeNamespaces[%d]", i), e, "name a namespace of Kubernetes"))
		}
	}
	return err
}

var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// CheckNamespace says why no namespace of Kubernetes is called n.
func CheckNamespace(n string) error {
	if !label.MatchString(n) {
		return fmt.Errorf("%q is not 1..63 small letters, digits and inner hyphens", n)
	}
	return nil
}

// ParseTimeout reads a timeout; empty: the default one.
func ParseTimeout(s string) (time.Duration, error) {
	if s == "" {
		return Timeout, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration such as 5s", s)
	}
	if d < leastTimeout || d > mostTimeout {
		return 0, fmt.Errorf("%v: from %v to %v", d, leastTimeout, mostTimeout)
	}
	return d, nil
}

// invalid is an error about a field of the configuration.
func invalid(field string, err error, remedy string) error {
	text := "network configuration: " + field + ": " + err.Error()
	if remedy != "" {
		text += "; " + remedy
	}
	return types.NewError(types.ErrInvalidNetworkConfig, text, "")
}

// similar says whether b may be a slip of the pen for a: but for upper and lower case at
// most two letters are others, too many or missing.
func similar(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	const slips = 2
	if len(a)-len(b) > slips || len(b)-len(a) > slips {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, up := i+1, row[0]
		row[0] = left
		for j := range len(b) {
			cost := up
			if a[i] != b[j] {
				cost = 1 + min(up, left, row[j+1])
			}
			up, left = row[j+1], cost
			row[j+1] = cost
		}
	}
	return row[len(b)] <= slips
}

// SPDX-License-Identifier: Apache-2.0

// Package podrecord keeps what a container runtime said of the pods of this node, a file
// for each attachment: the kernel's name of an enrolled network namespace (its cookie)
// gives no way back to the namespace, and is gone with the maps. The files live in a
// tmpfs, as long as the namespaces do.
package podrecord

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode"

	"github.com/kmesh-net/kmesh-node/internal/printable"
)

// version is that of the form of the files.
const version = 1

// Limits of what a runtime may say: a record is read again and again.
const (
	maxID   = 200 // a file name has 255 bytes
	maxIf   = 15  // IFNAMSIZ without its end
	maxText = 4096
	maxName = 253 // of a pod, which is named in errors
	maxIPs  = 64
	maxFile = 64 << 10
)

// Record is one attachment of a pod to a network.
type Record struct {
	Version     int    `json:"version"`
	ContainerID string `json:"container_id"`
	IfName      string `json:"ifname"`
	// Network is the name of the runtime's network: each has attachments of its own.
	Network string `json:"network"`
	// Netns is where the namespace was when the pod came; Dev and Ino are those of that
	// file, and tell whether it is the same one still.
	Netns string `json:"netns"`
	Dev   uint64 `json:"dev"`
	Ino   uint64 `json:"ino"`
	// Cookie is the kernel's name of the namespace, never given out twice in one boot;
	// 0 for one that is let alone.
	Cookie uint64 `json:"cookie"`
	Boot   string `json:"boot"`
	// Namespace and Name are the pod's; empty where the runtime did not say.
	Namespace string       `json:"namespace,omitempty"`
	Name      string       `json:"name,omitempty"`
	IPs       []netip.Addr `json:"ips,omitempty"`
	// Map is the id of the km_netns in which the namespace was enrolled last, 0 for none
	// yet. One that is not in that very map left by itself, and is not enrolled again.
	Map uint32 `json:"map,omitempty"`
	// Released says that the runtime took the attachment back while nobody could
	// unenrol the namespace.
	Released bool `json:"released,omitempty"`
	// Alone says that the pod is never enrolled by its record, which is there because the
	// runtime calls the plugin for the pod once more.
	Alone bool `json:"alone,omitempty"`
}

var containerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// CheckID says what is wrong with the two names of an attachment, which become a file's.
func CheckID(id, ifname string) error {
	switch {
	case len(id) > maxID:
		return fmt.Errorf("container id of %d characters: at most %d", len(id), maxID)
	case !containerID.MatchString(id):
		return fmt.Errorf("container id %q: letters, digits, and _ . - behind the first", clip(id))
	case ifname == "" || len(ifname) > maxIf || ifname == "." || ifname == "..",
		strings.ContainsFunc(ifname, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return fmt.Errorf("interface name %q: at most %d characters, none of them / : or a space", clip(ifname), maxIf)
	}
	return nil
}

// Check says what is wrong with a record, naming the field.
func (r *Record) Check() error {
	if r.Version != version {
		return fmt.Errorf("version: %d, this kmesh-node's is %d", r.Version, version)
	}
	if err := CheckID(r.ContainerID, r.IfName); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{
		{"network", r.Network}, {"netns", r.Netns}, {"boot", r.Boot}, {"namespace", r.Namespace}, {"name", r.Name},
	} {
		if len(f.value) > maxText || strings.ContainsFunc(f.value, unicode.IsControl) {
			return fmt.Errorf("%s: %q: at most %d characters, all printable", f.name, clip(f.value), maxText)
		}
	}
	switch {
	case !strings.HasPrefix(r.Netns, "/"):
		return fmt.Errorf("netns: %q is no absolute path", clip(r.Netns))
	case r.Cookie == 0 && !r.Alone:
		return fmt.Errorf("cookie: 0 is no namespace's")
	case r.Cookie != 0 && r.Alone:
		return fmt.Errorf("cookie: %d, of a pod that is let alone", r.Cookie)
	case len(r.IPs) > maxIPs:
		return fmt.Errorf("ips: %d addresses, at most %d", len(r.IPs), maxIPs)
	}
	return nil
}

// String names the pod for people.
func (r *Record) String() string {
	if r.Name == "" {
		return "container " + clip(r.ContainerID)
	}
	return "pod " + printable.Clip(r.Namespace, maxName) + "/" + printable.Clip(r.Name, maxName)
}

// parse reads a record that claims to be of this file.
func parse(file string, data []byte) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if want := fileName(r.ContainerID, r.IfName); want != file {
		return nil, fmt.Errorf("container_id, ifname: they belong to the file %s", want)
	}
	return r, nil
}

// clip is enough of a text for people.
func clip(s string) string { return printable.Clip(s, 40) }

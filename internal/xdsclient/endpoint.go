// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// Endpoint is where the control plane is, and how it is spoken to: by TLS 1.2 or later, or
// in plain text where nobody listens, which is a loopback address or a unix socket, and
// where Plaintext says so.
type Endpoint struct {
	Address    string // HOST:PORT, or unix:PATH
	Plaintext  bool
	CA         string // file of PEM; "": the roots of the host
	ServerName string // in the certificate; "": the host of Address
	// TokenFile holds what is sent as a bearer token, but never in plain text to another
	// host; "": none is sent.
	TokenFile string
}

const unixPrefix = "unix:"

func (e *Endpoint) unix() (path string, ok bool) { return strings.CutPrefix(e.Address, unixPrefix) }

func (e *Endpoint) host() string {
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil {
		return "" // of a unix socket
	}
	return host
}

// loopback says whether the address means this host whatever a name server says.
func (e *Endpoint) loopback() bool {
	a, err := netip.ParseAddr(e.host())
	return e.host() == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func (e *Endpoint) tls() bool {
	_, unix := e.unix()
	return e.CA != "" || e.ServerName != "" || !(unix || e.Plaintext || e.loopback())
}

// onlyLoopback says that a connection may go to this host alone, wherever a name leads.
func (e *Endpoint) onlyLoopback() bool {
	return !e.tls() && (!e.Plaintext || e.TokenFile != "")
}

// check returns an *exit.Error with code Usage.
func (e *Endpoint) check() error {
	wrong := func(remedy, format string, args ...any) error {
		return &exit.Error{Code: exit.Usage, Step: "usage", Object: "--xds-address " + xds.Clip(e.Address), Err: fmt.Errorf(format, args...), Remedy: remedy}
	}
	path, unix := e.unix()
	switch {
	case unix && !filepath.IsAbs(path):
		return wrong("", "the path of the unix socket is not absolute")
	case unix && len(path) > maxUnixPath:
		return wrong("", "the path of a unix socket has %d bytes at most", maxUnixPath)
	case unix && e.tls():
		return wrong("leave out --xds-ca and --xds-server-name", "a unix socket is spoken to without TLS")
	case !unix:
		if err := checkHostPort(e.Address); err != nil {
			return wrong("give HOST:PORT, or unix:PATH", "%w", err)
		}
	}
	switch {
	case e.Plaintext && (e.CA != "" || e.ServerName != ""):
		return wrong("leave out --xds-plaintext", "--xds-ca and --xds-server-name are of TLS")
	case e.Plaintext && e.TokenFile != "" && !unix && !e.loopback():
		return wrong("leave out --xds-plaintext or --xds-token-file", "a token is not sent in plain text to another host")
	}
	return nil
}

// maxUnixPath is what fits into a sockaddr_un with the zero behind it.
const maxUnixPath = 107

func checkHostPort(address string) error {
	host, port, err := net.SplitHostPort(address)
	var bad *net.AddrError
	if errors.As(err, &bad) {
		return errors.New(bad.Err)
	}
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not 1..65535", xds.Clip(port))
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if len(host) > 253 || !isName(host) {
		return fmt.Errorf("%q is neither an address nor a host's name", xds.Clip(host))
	}
	return nil
}

// isName says whether s may be the name of a host, a pod or a namespace.
func isName(s string) bool {
	if s == "" {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_') {
			return false
		}
	}
	return true
}

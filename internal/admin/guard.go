// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/printable"
)

// guard refuses what a web page could have a browser on this host send: a name that was
// made to lead here (DNS rebinding) is told by Host, a request of another site by what
// browsers say of its origin.
func (s *Server) guard(next http.Handler) http.Handler {
	_, local := s.listener.Addr().(*net.UnixAddr) // no page can reach a unix socket
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case !local && (!s.open || !reads) && !plainHost(r.Host):
			refuse(w, "Host "+clip(r.Host)+": ask by address, or by localhost")
		case !local && sites.Check(r) != nil:
			refuse(w, "this is a request of another site")
		default:
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-store")
			next.ServeHTTP(w, r)
		}
	})
}

// plainHost says whether a Host is an address, or localhost: no name that anybody else
// can make lead here.
func plainHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

func refuse(w http.ResponseWriter, why string) { http.Error(w, why, http.StatusForbidden) }

// closed refuses what an address that other hosts reach does not give unasked.
func (s *Server) closed(w http.ResponseWriter, what string) bool {
	if !s.open || s.cfg.Writes {
		return false
	}
	refuse(w, what+" on "+s.listener.Addr().String()+": only on loopback or a unix socket, or with --admin-allow-writes")
	return true
}

// clip shortens what came from outside for a text.
func clip(s string) string { return printable.Clip(s, 100) }

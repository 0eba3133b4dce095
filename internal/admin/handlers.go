// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/printable"
)

const (
	// lookTime is what a look or a reading may take before the answer says that it
	// takes longer.
	lookTime = 5 * time.Second
	dumpTime = 30 * time.Second
	maxBody  = 4 << 10
)

// page is one path of the server.
type page struct {
	path, methods, about string
	serve                http.HandlerFunc
}

func (s *Server) pages() []page {
	const read = "GET"
	l := []page{
		{"/healthz", read, "is the process alive and its loop turning", s.healthz},
		{"/readyz", read, "are programs, links and configuration what they should be", s.readyz},
		{"/metrics", read, "for Prometheus", s.cfg.Metrics.ServeHTTP},
		{"/debug/config_dump", read, "what the kernel's maps hold, as `get -o json`; ?kind=KIND: one kind", s.dump},
		{"/debug/loglevel", "GET, PUT, POST", "log levels; set by PUT with " + s.levelNames(), s.level},
	}
	if s.cfg.Profiles {
		l = append(l, page{"/debug/pprof/", read, "profiles of the process", s.profiles(pprof.Index)},
			page{"/debug/pprof/profile", read, "", s.profiles(pprof.Profile)},
			page{"/debug/pprof/trace", read, "", s.profiles(pprof.Trace)},
			page{"/debug/pprof/symbol", read, "", s.profiles(pprof.Symbol)},
			page{"/debug/pprof/cmdline", read, "", s.profiles(pprof.Cmdline)})
	}
	return l
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	pages := s.pages()
	for _, p := range pages {
		mux.HandleFunc(p.path, only(p.methods, p.serve))
	}
	mux.HandleFunc("/{$}", only("GET", func(w http.ResponseWriter, _ *http.Request) {
		for _, p := range pages {
			if p.about != "" {
				say(w, "%-20s %s\n", p.path, p.about)
			}
		}
	}))
	return s.guard(mux)
}

// only answers other methods with 405.
func only(methods string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if !slices.Contains(strings.Split(methods, ", "), method) {
			w.Header().Set("Allow", methods)
			http.Error(w, clip(r.Method)+": it takes "+methods, http.StatusMethodNotAllowed)
			return
		}
		next(w, r)
	}
}

// say writes to a client; one that has gone needs no answer.
func say(w io.Writer, format string, args ...any) bool {
	_, err := fmt.Fprintf(w, format, args...)
	return err == nil
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := s.cfg.Healthy(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	say(w, "ok\n")
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTime)
	defer cancel()
	why := s.cfg.Ready(ctx)
	if len(why) > 0 {
		lines := make([]string, len(why)) // of its own: others are answered with the same
		for i := range why {
			lines[i] = printable.Line(strings.ReplaceAll(why[i], "\n", "; "))
		}
		http.Error(w, strings.Join(lines, "\n"), http.StatusServiceUnavailable)
		return
	}
	say(w, "ok\n")
}

func (s *Server) dump(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), dumpTime)
	defer cancel()
	write, err := s.cfg.Dump(ctx, r.URL.Query().Get("kind"))
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriterSize(w, 64<<10)
	if err = write(out); err == nil {
		err = out.Flush()
	}
	if err != nil {
		s.cfg.Log.WithError(err).Debug("config dump ended early")
		panic(http.ErrAbortHandler) // so that the client sees that it is not whole
	}
}

func statusOf(err error) int {
	switch exit.Code(err) {
	case exit.Usage:
		return http.StatusBadRequest
	case exit.NotUp, exit.Locked, exit.NotReady:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func (s *Server) levelNames() string {
	l := make([]string, len(s.cfg.Levels))
	for i, v := range s.cfg.Levels {
		l[i] = "?" + v.Name + "=" + strings.Join(v.Values, "|")
	}
	return strings.Join(l, " or ")
}

// level sets what the query says, all of it or, where one word of it is wrong, nothing;
// and answers with what is in force.
func (s *Server) level(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		if s.closed(w, "writing") {
			return
		}
		if !s.setLevels(w, r) {
			return
		}
	} else if r.URL.RawQuery != "" {
		http.Error(w, "a level is set by PUT: curl -X PUT …", http.StatusBadRequest)
		return
	}
	now := map[string]string{}
	for _, l := range s.cfg.Levels {
		v, err := l.Get()
		if err != nil {
			http.Error(w, err.Error(), statusOf(err))
			return
		}
		now[l.Name] = v
	}
	b, err := json.Marshal(now)
	if err != nil {
		panic(err) // a map of strings
	}
	w.Header().Set("Content-Type", "application/json")
	say(w, "%s\n", b)
}

func (s *Server) setLevels(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "read levels: "+err.Error(), http.StatusBadRequest)
		return false
	}
	set := map[string]string{}
	for name, values := range r.Form {
		i := slices.IndexFunc(s.cfg.Levels, func(l Level) bool { return l.Name == name })
		if i < 0 || len(values) != 1 || !slices.Contains(s.cfg.Levels[i].Values, values[0]) {
			http.Error(w, fmt.Sprintf("%s=%s: it is %s", clip(name), clip(strings.Join(values, ",")), s.levelNames()), http.StatusBadRequest)
			return false
		}
		set[name] = values[0]
	}
	if len(set) == 0 {
		http.Error(w, "no level is given: it is "+s.levelNames(), http.StatusBadRequest)
		return false
	}
	for _, l := range s.cfg.Levels {
		v, ok := set[l.Name]
		if !ok {
			continue
		}
		if err := l.Set(v); err != nil {
			http.Error(w, "set "+l.Name+": "+err.Error(), statusOf(err))
			return false
		}
	}
	return true
}

func (s *Server) profiles(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.closed(w, "profiles") {
			return
		}
		next(w, r)
	}
}

// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// subject is a server under test, and what it is asked about.
type subject struct {
	*Server
	t       *testing.T
	client  *http.Client
	sick    error
	reasons []string
	levels  map[string]string
	setErr  error
}

func serve(t *testing.T, address string, change func(*Config)) *subject {
	t.Helper()
	u := &subject{t: t, levels: map[string]string{"process": "info", "dataplane": "off"}, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	level := func(name string, values ...string) Level {
		return Level{Name: name, Values: values,
			Get: func() (string, error) { return u.levels[name], nil },
			Set: func(v string) error {
				if u.setErr == nil {
					u.levels[name] = v
				}
				return u.setErr
			}}
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	cfg := Config{Address: address, Log: log,
		Healthy: func() error { return u.sick },
		Ready:   func(context.Context) []string { return u.reasons },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { say(w, "metrics\n") }),
		Dump: func(_ context.Context, kind string) (func(io.Writer) error, error) {
			if kind == "wrong" {
				return nil, &exit.Error{Code: exit.Usage, Err: errors.New("no such kind")}
			}
			return func(w io.Writer) error {
				_, err := io.WriteString(w, "[]\n")
				if kind == "broken" {
					err = errors.New("broken")
				}
				return err
			}, nil
		},
		Levels: []Level{level("process", "info", "debug"), level("dataplane", "off", "error")}}
	if change != nil {
		change(&cfg)
	}
	var err error
	if u.Server, err = Serve(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

// answer is what came back.
type answer struct {
	code   int
	body   string
	header http.Header
}

// ask sends a request; headers are name and value in turn, "Host" among them.
func (u *subject) ask(method, path string, headers ...string) answer {
	u.t.Helper()
	port := u.Addr().(*net.TCPAddr).Port
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	r, err := u.client.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		u.t.Fatal(err)
	}
	return answer{r.StatusCode, string(b), r.Header}
}

func (u *subject) want(code int, words string, a answer) {
	u.t.Helper()
	if a.code != code || !strings.Contains(a.body, words) {
		u.t.Errorf("%d %q, want %d with %q", a.code, a.body, code, words)
	}
}

const loopback = "127.0.0.1:0"

func TestEachPageAnswersItsMethodsAlone(t *testing.T) {
	u := serve(t, loopback, nil)
	for path, body := range map[string]string{"/": "/readyz", "/healthz": "ok\n", "/readyz": "ok\n", "/metrics": "metrics\n",
		"/debug/config_dump": "[]\n", "/debug/loglevel": `{"dataplane":"off","process":"info"}`} {
		u.want(200, body, u.ask("GET", path))
		u.want(200, "", u.ask("HEAD", path))
		for _, method := range []string{"DELETE", "OPTIONS", "PATCH"} {
			a := u.ask(method, path)
			u.want(405, method, a)
			if !strings.HasPrefix(a.header.Get("Allow"), "GET") {
				t.Errorf("%s %s: Allow %q", method, path, a.header.Get("Allow"))
			}
		}
	}
	u.want(405, "GET", u.ask("PUT", "/healthz"))
	for _, path := range []string{"/nowhere", "/healthz/x", "/debug/pprof/", "/debug/"} {
		u.want(404, "", u.ask("GET", path))
	}
}

func TestProbesTellEachReason(t *testing.T) {
	u := serve(t, loopback, nil)
	u.sick, u.reasons = errors.New("it hangs"), []string{"link a: gone\nand more", "link b\x1b[31m: gone"}
	u.want(503, "it hangs\n", u.ask("GET", "/healthz"))
	if a := u.ask("GET", "/readyz"); a.code != 503 || a.body != "link a: gone; and more\nlink b?[31m: gone\n" {
		t.Errorf("%d %q, want one line for each reason", a.code, a.body)
	}
	if u.reasons[0] != "link a: gone\nand more" {
		t.Errorf("what others are answered with is changed: %q", u.reasons)
	}
}

func TestADumpThatBreaksIsNotTakenForAWholeOne(t *testing.T) {
	u := serve(t, loopback, nil)
	u.want(400, "no such kind", u.ask("GET", "/debug/config_dump?kind=wrong"))
	r, err := u.client.Get("http://" + u.Addr().String() + "/debug/config_dump?kind=broken")
	if err != nil {
		return // before anything had come
	}
	_, err = io.ReadAll(r.Body)
	if e := r.Body.Close(); e != nil {
		t.Error(e)
	}
	if err == nil {
		t.Error("it came to a good end")
	}
}

func TestLevelsAreSetAllOrNone(t *testing.T) {
	u := serve(t, loopback, nil)
	u.want(200, `{"dataplane":"error","process":"debug"}`, u.ask("PUT", "/debug/loglevel?process=debug&dataplane=error"))
	u.want(200, `{"dataplane":"error","process":"info"}`, u.ask("POST", "/debug/loglevel?process=info"))
	for _, query := range []string{"", "?process=", "?process=loud", "?process=debug&nothing=info", "?process=info&process=debug", "?dataplane=loud&process=debug", "?%zz"} {
		u.want(400, "", u.ask("PUT", "/debug/loglevel"+query))
	}
	u.want(400, "set by PUT", u.ask("GET", "/debug/loglevel?process=debug"))
	u.want(200, `{"dataplane":"error","process":"info"}`, u.ask("GET", "/debug/loglevel"))
	u.setErr = &exit.Error{Code: exit.NotUp, Err: errors.New("not up")}
	u.want(503, "set process: not up", u.ask("PUT", "/debug/loglevel?process=debug"))
}

// What a page of another site can have a browser send is refused.
func TestABrowserIsNoWayIn(t *testing.T) {
	u := serve(t, loopback, nil)
	const set = "/debug/loglevel?process=debug"
	for _, host := range []string{"evil.example", "evil.example:15200", "localhost.evil.example", "127.0.0.1.evil.example", "", "x[::1]"} {
		if host != "" {
			u.want(403, "Host", u.ask("GET", "/metrics", "Host", host))
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:15200", "127.0.0.1", "[::1]:15200", "10.1.2.3:1"} {
		u.want(200, "metrics", u.ask("GET", "/metrics", "Host", host))
	}
	u.want(403, "another site", u.ask("POST", set, "Origin", "http://evil.example"))
	u.want(403, "another site", u.ask("PUT", set, "Sec-Fetch-Site", "cross-site"))
	if u.levels["process"] != "info" {
		t.Error("the level was set")
	}
}

// Where other hosts may reach it, it is read-only unless that was asked for.
func TestOtherHostsReadAlone(t *testing.T) {
	const set = "/debug/loglevel?process=debug"
	for _, allow := range []bool{false, true} {
		u := serve(t, "0.0.0.0:0", func(c *Config) { c.Writes, c.Profiles = allow, true })
		u.want(200, "metrics", u.ask("GET", "/metrics", "Host", "node.example"))
		if a := u.Addr().String(); !strings.HasPrefix(a, "0.0.0.0:") {
			t.Errorf("not IPv4 alone: %s", a)
		}
		code := 403
		if allow {
			code = 200
		}
		u.want(code, "", u.ask("PUT", set))
		u.want(code, "", u.ask("GET", "/debug/pprof/"))
		u.want(code, "", u.ask("GET", "/debug/pprof/heap"))
		u.want(code, "", u.ask("GET", "/debug/pprof/cmdline"))
		if set := u.levels["process"] == "debug"; set != allow {
			t.Errorf("writes allowed: %v; set: %v", allow, set)
		}
		u.want(403, "Host", u.ask("PUT", set, "Host", "evil.example"))
	}
}

// One that is over the limit is answered at once where others say nothing, or not all of a
// request; where all are being answered, once one of them ends.
func TestConnectionsAreLimited(t *testing.T) {
	answer := make(chan struct{})
	u := serve(t, loopback, func(cfg *Config) {
		cfg.Ready = func(ctx context.Context) []string {
			<-answer
			return nil
		}
	})
	dial := func(words string) net.Conn {
		c, err := net.Dial("tcp", u.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
		if _, err := io.WriteString(c, words); err != nil {
			t.Fatal(err)
		}
		return c
	}
	read := func(c net.Conn, patience time.Duration) error {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	const request = " HTTP/1.0\r\nHost: localhost\r\n\r\n"
	for i := range 2 * maxConnections {
		dial([]string{"", "GET /h"}[i%2])
	}
	if err := read(dial("GET /healthz"+request), headerTime/2); err != nil {
		t.Errorf("beside silent ones: %v", err)
	}
	var busy []net.Conn
	for range maxConnections {
		busy = append(busy, dial("GET /readyz"+request))
	}
	for _, c := range busy {
		if err := read(c, 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("one that is being answered: %v", err)
		}
	}
	over := dial("GET /healthz" + request)
	if err := read(over, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more than the limit is answered: %v", err)
	}
	close(answer)
	for _, c := range append(busy, over) {
		if err := read(c, headerTime); err != nil {
			t.Error(err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, words := range map[string]string{
		"127.0.0.1:15200": "", "[::1]:0": "", "localhost:1": "", ":15200": "", "unix:/run/x": "",
		"15200": "HOST:PORT", "127.0.0.1": "HOST:PORT", "127.0.0.1:": "port", "127.0.0.1:65536": "0..65535", "127.0.0.1:http": "0..65535",
		"127.0.0.1:00": "no number", "unix:": "not absolute", "unix:run/x": "not absolute", "unix:/" + strings.Repeat("x", 107): "107 bytes at most",
	} {
		err := Check(address)
		if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", address, err, words)
		}
	}
}

func wantInUse(t *testing.T, address string, want error) {
	t.Helper()
	if err := Try(address); err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("a try: %v", err)
	}
	s, err := Serve(Config{Address: address, Log: logrus.New()})
	if err == nil {
		t.Fatal(errors.Join(errors.New("it listens"), s.Close()))
	}
	if strings.Contains(err.Error(), "end that process") != (want != nil) || want != nil && !errors.Is(err, want) ||
		exit.Code(err) != exit.NotReady || !strings.Contains(err.Error(), address) {
		t.Errorf("%v (code %d)", err, exit.Code(err))
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	u := serve(t, loopback, nil)
	wantInUse(t, u.Addr().String(), errInUse)
	path := filepath.Join(t.TempDir(), "s")
	serve(t, "unix:"+path, nil)
	wantInUse(t, "unix:"+path, errInUse)
}

func TestATryLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	address := "unix:" + filepath.Join(dir, "s")
	for range 2 {
		if err := Try(address); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := os.ReadDir(dir); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
	serve(t, address, nil)
}

func TestAUnixSocketIsTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 40))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	// What an ended process left is replaced.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	u := serve(t, "unix:"+path, nil)
	if u.String() != "unix:"+path {
		t.Errorf("it says that it is at %s", u)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	r, err := c.Get("http://any.name/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Body.Close(); err != nil || r.StatusCode != 200 {
		t.Errorf("%d %v", r.StatusCode, err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v %v", entries, err)
	}
	// What is no socket stays, and so does another's socket at the end.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantInUse(t, "unix:"+path, nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	u = serve(t, "unix:"+path, nil)
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600), u.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

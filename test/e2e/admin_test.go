// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kmesh-net/kmesh-node/test/controlplane"
)

var bothModes = []string{"ads", "workload"}

// Readiness is a look, not what the last turn found: this one's turns are half a minute apart.
func TestReadinessTellsWhatIsDetached(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, mode)
			s, a := n.serveAdmin()
			a.becomes("/readyz", 200, "ok")
			a.wantSamples(map[string]float64{"ready": 1, "unready_reasons": 0, "repairs_total": 0, `links{state="gone"}`: 0})
			links := filepath.Join(n.bpf, "kmesh_node", mode, "link")
			detach(t, filepath.Join(links, "sockconn4"))
			a.becomes("/readyz", 503, "link sockconn4: to repair: it was detached")
			a.wantSamples(map[string]float64{"ready": 0, "unready_reasons": 1, `links{state="gone"}`: 1})
			if err := os.Remove(filepath.Join(links, "sockconn6")); err != nil {
				t.Fatal(err)
			}
			a.becomes("/readyz", 503, "sockconn4", "sockconn6")
			a.becomes("/healthz", 200, "ok")
			s.signal(unix.SIGHUP) // has it turn now
			a.becomes("/readyz", 200, "ok")
			a.wantSamples(map[string]float64{"ready": 1, "unready_reasons": 0, "repairs_total": 2, "turns_total": 1, `links{state="gone"}`: 0})
			s.stop(exitDone)
			if _, err := os.Lstat(a.path); !os.IsNotExist(err) {
				t.Errorf("the socket is left: %v", err)
			}
		})
	}
}

func TestReadinessTellsThatTheConfigurationIsNotInForce(t *testing.T) {
	n := newNode(t)
	dir := n.write(cds(static("a", epA1)))
	_, a := n.serveAdmin("--config="+dir, everySoon)
	a.becomes("/readyz", 200, "ok")
	a.wantSamples(map[string]float64{"config_resources": 1, "config_failed": 0, `resources{kind="cluster"}`: 1, "publications_total": 1})
	bad := filepath.Join(dir, "01.json")
	if err := os.WriteFile(bad, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	a.becomes("/readyz", 503, "--config", "01.json")
	a.wantSamples(map[string]float64{"ready": 0, "config_failed": 1, `resources{kind="cluster"}`: 1})
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	a.becomes("/readyz", 200, "ok")
}

func TestReadinessWaitsForTheControlPlane(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode, func(t *testing.T) {
			plane := controlplane.NewLive(controlplane.Config{})
			if err := plane.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { plane.Stop() })
			address := plane.Address()
			plane.Stop()
			n := newNodeOf(t, mode)
			_, a := n.serveAdmin("--xds-address="+address, "--xds-sync-timeout=1ms", "--xds-node-ip=10.9.9.9")
			a.becomes("/readyz", 503, "what "+address+" says is not all in force")
			a.becomes("/healthz", 200)
			a.wantSamples(map[string]float64{"ready": 0, "xds_synced": 0, "xds_connected": 0, "xds_streams_total": 0})
			fill, held := fillAmbient, `xds_resources{type="type.googleapis.com/istio.workload.Address"}`
			if mode == "ads" {
				fill, held = fillEnvoy, `xds_resources{type="type.googleapis.com/envoy.config.cluster.v3.Cluster"}`
			}
			resources, err := fill(t.Context(), plane)
			if err != nil {
				t.Fatal(err)
			}
			if err := plane.Start(); err != nil {
				t.Fatal(err)
			}
			a.becomes("/readyz", 200, "ok")
			a.wantSamples(map[string]float64{"ready": 1, "xds_synced": 1, "xds_connected": 1, "xds_streams_total": 1, held: float64(resources)})
			// A control plane that is away takes nothing away.
			plane.Stop()
			a.wantSamples(map[string]float64{"ready": 1, "xds_synced": 1, "xds_connected": 0, held: float64(resources)})
		})
	}
}

var small = controlplane.Fleet{Services: 2, Endpoints: 2}

// fillEnvoy has the control plane know a small mesh, and returns how many clusters that is.
func fillEnvoy(ctx context.Context, plane *controlplane.Live) (int, error) {
	list, err := small.Envoy()
	if err != nil {
		return 0, err
	}
	return small.Services, plane.Set(ctx, list...)
}

// fillAmbient is fillEnvoy for workload mode; it counts services and workloads.
func fillAmbient(_ context.Context, plane *controlplane.Live) (int, error) {
	list, err := small.Ambient()
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if err := plane.Change(r); err != nil {
			return 0, err
		}
	}
	return small.Services * (1 + small.Endpoints), nil
}

func TestADumpIsWhatGetPrints(t *testing.T) {
	for mode, kinds := range map[string][]string{
		"ads":      {"listeners", "clusters", "routes", "endpoints", "enrolled"},
		"workload": {"services", "workloads", "policies", "enrolled"},
	} {
		t.Run(mode, func(t *testing.T) {
			n := newNodeOf(t, mode)
			_, a := n.serveAdmin()
			compare := func() {
				t.Helper()
				var whole map[string]json.RawMessage
				if err := json.Unmarshal([]byte(a.get("/debug/config_dump")), &whole); err != nil {
					t.Fatal(err)
				}
				if len(whole) != len(kinds)+1 || string(whole["mode"]) != `"`+mode+`"` {
					t.Errorf("%d members, mode %s", len(whole), whole["mode"])
				}
				for _, k := range kinds {
					want := n.want(exitDone, "get", k, "-o", "json").out
					if got := a.get("/debug/config_dump?kind=" + k); got != want {
						t.Errorf("%s:\n%s\nwant\n%s", k, got, want)
					}
					var one, all any
					if err := json.Unmarshal([]byte(want), &one); err != nil {
						t.Fatal(err)
					}
					if err := json.Unmarshal(whole[k], &all); err != nil || fmt.Sprint(one) != fmt.Sprint(all) {
						t.Errorf("%s in the whole dump: %v\n%v\nwant\n%v", k, err, all, one)
					}
				}
			}
			compare()
			n.enroll(newPod(t))
			if mode == "ads" {
				n.apply(cds(static("a", epA1, epA2), static("b<>&", epB1)), lds(listener(service, toCluster("a"))))
			} else {
				n.apply(wds(wsvc("a", vips("10.96.0.1"), wport(80, 8080)), wpod("p1", ip1, serves("a")), wpod("p2", ip2, serves("a"))),
					policies(policy("x<>&", "NAMESPACE", "DENY", onlyWhen("namespaces", exact("other")))))
			}
			compare()
			if code, body := a.ask("GET", "/debug/config_dump?kind=nothing"); code != 400 || !strings.Contains(body, "is no kind") {
				t.Errorf("%d %s", code, body)
			}
		})
	}
}

func TestLogLevelsAreSetLive(t *testing.T) {
	n := newNode(t)
	s, a := n.serveAdmin(everySoon)
	const page = "/debug/loglevel"
	if got := a.get(page); !strings.Contains(got, `"process":"info"`) {
		t.Errorf("%s", got)
	}
	if code, body := a.ask("PUT", page+"?process=error"); code != 200 || !strings.Contains(body, `"process":"error"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := a.ask("PUT", page+"?process=loud"); code != 400 || !strings.Contains(body, "trace|debug|info|warning|error") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := a.ask("PUT", page+"?dataplane=error"); code != 200 || body != `{"dataplane":"error","process":"error"}`+"\n" {
		t.Errorf("%d %s", code, body)
	}
	quiet := len(s.said())
	detach(t, filepath.Join(n.bpf, "kmesh_node", "ads", "link", "sockconn4"))
	a.wantSamples(map[string]float64{"repairs_total": 1})
	if said := s.said()[quiet:]; said != "" {
		t.Errorf("at level error: %s", said)
	}
	if code, _ := a.ask("PUT", page+"?process=warning"); code != 200 {
		t.Error(code)
	}
	detach(t, filepath.Join(n.bpf, "kmesh_node", "ads", "link", "sockconn4"))
	s.logged("repaired: attached: sockconn4")
}

// listening reads from its log where a run listens.
func listening(s *daemon) string {
	s.t.Helper()
	s.logged("admin endpoint: ")
	_, rest, _ := strings.Cut(s.said(), "admin endpoint: ")
	return strings.Trim(strings.Fields(rest)[0], `"`)
}

func TestTheAdminEndpointIsNobodyElses(t *testing.T) {
	n := newNode(t)
	s, a := n.serveAdmin()
	if info, err := os.Lstat(a.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	s.stop(exitDone)
	const set = "/debug/loglevel?process=debug"
	for _, c := range []struct {
		flags []string
		codes map[string]int
	}{
		{[]string{"--admin-address=127.0.0.1:0"}, map[string]int{"GET /metrics": 200, "PUT " + set: 200, "GET /debug/pprof/": 404}},
		{[]string{"--admin-address=[::]:0", "--admin-pprof"}, map[string]int{"GET /metrics": 200, "PUT " + set: 403, "GET /debug/pprof/": 403}},
		{[]string{"--admin-address=:0", "--admin-pprof", "--admin-allow-writes"}, map[string]int{"PUT " + set: 200, "GET /debug/pprof/goroutine": 200}},
	} {
		s := n.serve(c.flags...)
		_, port, err := net.SplitHostPort(listening(s))
		if err != nil {
			t.Fatal(err)
		}
		a := &adminEnd{t: t, client: &nethttp.Client{Transport: &nethttp.Transport{DisableKeepAlives: true}}, base: "http://127.0.0.1:" + port}
		for request, want := range c.codes {
			method, path, _ := strings.Cut(request, " ")
			if code, body := a.ask(method, path); code != want {
				t.Errorf("%v %s: %d, want %d: %s", c.flags, request, code, want, body)
			}
		}
		s.stop(exitDone)
	}
}

// Whose address is taken runs without it, unless it was asked for: then nothing is touched.
func TestAnAdminAddressThatIsTaken(t *testing.T) {
	n := newNode(t)
	l, err := net.Listen("tcp", "127.0.0.1:15200")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused(t, exitNotReady, n.run("run", "--admin-address=127.0.0.1:15200"), "listen", "127.0.0.1:15200", "another process", "--admin-address")
	nowhere := "unix:/run/kmesh-node/none/s" // its directory does not come with the start
	refused(t, exitNotReady, n.run("run", "--admin-address="+nowhere), "listen", nowhere, "make its directory")
	if l := n.pins(); len(l) > 0 {
		t.Errorf("it ended, and left %v", l)
	}
	s := n.serve("--admin-address=unix:/run/kmesh-node/../kmesh-node/s")
	s.stop(exitDone)
	s = n.serve()
	s.logged("level=warning", "no admin endpoint", "127.0.0.1:15200", "another process")
	s.stop(exitDone)
	refused(t, exitUsage, n.run("run", "--admin-address=nowhere"), "--admin-address", "HOST:PORT")
	s = n.serve("--admin-address=off")
	if strings.Contains(s.said(), "admin endpoint") {
		t.Error("it listens though it is off")
	}
	s.stop(exitDone)
}

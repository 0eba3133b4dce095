// SPDX-License-Identifier: Apache-2.0

package e2e

import "testing"

func TestClusterThatComesLaterTakesEffect(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)),
		lds(listener(service, toCluster("late")), listener(service6, toWeighted(share{"late", 1}))))
	wantReach(t, c, service, service)
	wantReach(t, c, service6, service6)
	n.apply(cds(static("a", epA1), static("late", epB1, six1)))
	wantReach(t, c, service, epB1)
	wantReach(t, c, service6, six1)
}

func TestRouteConfigurationThatComesLaterTakesEffect(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toRDS("r"))))
	wantReach(t, c, service, service)
	n.apply(rds(routes("r", vhost("any", []string{"*"}, always(cluster("a"))))))
	wantReach(t, c, service, epA1)
}

func TestEndpointsThatComeLaterTakeEffect(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(edsCluster("a"), edsCluster("b")), lds(listener(service, toCluster("a"))))
	wantReach(t, c, service, service)
	n.apply(eds(cla("a", locality(0, 0, endpoint(epA1, 1)))))
	wantReach(t, c, service, epA1)
	// EDS is partial: what another response does not name stays.
	n.apply(eds(cla("b", locality(0, 0, endpoint(epB1, 1)))))
	wantReach(t, c, service, epA1)
	// A push of CDS alone keeps the endpoints that EDS gave.
	n.apply(cds(edsCluster("a")))
	wantReach(t, c, service, epA1)
	n.apply(eds(cla("a")))
	wantReach(t, c, service, service)
}

func TestDeletedClusterStopsBeingUsed(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1), static("b", epB1)),
		lds(listener(service, toWeighted(share{"a", 1}, share{"b", 1}))))
	wantSpread(t, c, service, counts{epA1: 20, epB1: 20})
	n.want(exitDone, "delete", "cluster", "a")
	wantSpread(t, c, service, counts{service: 20, epB1: 20})
	n.want(exitNotUp, "delete", "cluster", "a")
	// A complete response that does not name it deletes too.
	n.apply(cds(static("other", epC1)))
	wantSpread(t, c, service, counts{service: 20})
	n.apply(cds(static("a", epA2), static("b", epB2)))
	wantSpread(t, c, service, counts{epA2: 20, epB2: 20})
}

func TestDeletedListenerStopsBeingUsed(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1), static("b", epB1)),
		lds(listener(service, toCluster("a")), listener("0.0.0.0:80", toCluster("b"))))
	wantReach(t, c, service, epA1)
	n.apply(lds(listener("0.0.0.0:80", toCluster("b"))))
	wantReach(t, c, service, epB1)
	n.apply(lds())
	wantReach(t, c, service, service)
	n.apply(lds(listener(service, toCluster("a"))))
	wantReach(t, c, service, epA1)
}

func TestPassthroughIsLeftAlone(t *testing.T) {
	n, p, c := site(t)
	p.serve("10.96.0.11:15001", "10.96.0.11:15006", "10.96.0.11:80")
	virtual := func(name string, port string, direction string) obj {
		l := listener("0.0.0.0:"+port, toCluster("a"))
		l["name"], l["trafficDirection"] = name, direction
		delete(l, "bindToPort")
		return l
	}
	out := virtual("virtualOutbound", "15001", "OUTBOUND")
	out["useOriginalDst"] = true
	dns := obj{"name": "dns", "type": "STRICT_DNS", "loadAssignment": cla("dns", locality(0, 0, obj{"endpoint": obj{
		"address": obj{"socketAddress": obj{"address": "host.example", "portValue": 80}}}}))}
	n.apply(cds(static("a", epA1), originalDst("through"), obj{"name": "none", "type": "STATIC"}, dns),
		lds(out, virtual("virtualInbound", "15006", "INBOUND"),
			listener(service, toCluster("through")),
			listener(service6, toCluster("none")),
			listener("10.96.0.11:80", toCluster("dns"))))
	for _, left := range []string{"10.96.0.11:15001", "10.96.0.11:15006", service, service6, "10.96.0.11:80"} {
		wantReach(t, c, left, left)
	}
}

func TestOneApplyIsOneBatch(t *testing.T) {
	n, _, c := site(t)
	n.apply(cds(static("a", epA1)), lds(listener(service, toCluster("a"))))
	bad := static("b", epB1)
	bad["loadAssignment"] = cla("b", locality(0, 0, obj{"endpoint": obj{"address": obj{"socketAddress": obj{
		"address": "10.0.0.1", "portValue": 70000}}}}))
	docs := n.write(cds(static("a", epA2), bad), lds(listener(service, toCluster("a"))))
	refused(t, exitRejected, n.run("apply", "-f", docs), "b", "70000")
	wantReach(t, c, service, epA1)

	r := n.want(exitDone, "apply", "--skip-invalid", "-f", docs)
	wantReach(t, c, service, epA2)
	if !contains(r.out+r.err, "70000") {
		t.Errorf("%v\ndoes not say what was skipped", r)
	}
}

// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kmesh-net/kmesh-node/proto/security"
	"github.com/kmesh-net/kmesh-node/proto/workload"
)

// Type URLs, in the order in which a control plane pushes.
const (
	Cluster       = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	Endpoints     = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	Listener      = "type.googleapis.com/envoy.config.listener.v3.Listener"
	Routes        = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	Address       = "type.googleapis.com/istio.workload.Address"
	Authorization = "type.googleapis.com/istio.security.Authorization"
)

// Response is one response of either variant: a stream sends it as its own has it.
type Response struct {
	Type      string
	Version   string
	Nonce     string // one is made up where this is ""
	Resources []Resource
	// Removed is what delta alone can say; of the state of the world it is what
	// Resources leaves out.
	Removed []string
}

// Resource is one resource in its wire form.
type Resource struct {
	Name, Version string
	Body          *anypb.Any
}

// newResource packs a message under the name that control planes give it.
func newResource(m proto.Message) (Resource, error) {
	body := &anypb.Any{}
	if err := anypb.MarshalFrom(body, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return Resource{}, fmt.Errorf("pack resource: %w", err)
	}
	return Resource{Name: NameOf(m), Body: body}, nil
}

// NewResponse packs messages of one type; without any the type is needed.
func NewResponse(typeURL string, messages ...proto.Message) (Response, error) {
	r := Response{Type: typeURL}
	for _, m := range messages {
		res, err := newResource(m)
		if err != nil {
			return r, err
		}
		r.Resources = append(r.Resources, res)
	}
	return r, nil
}

// NameOf is what control planes call a resource.
func NameOf(m proto.Message) string {
	switch m := m.(type) {
	case *workload.Address:
		if w := m.GetWorkload(); w != nil {
			return w.GetUid()
		}
		return m.GetService().GetNamespace() + "/" + m.GetService().GetHostname()
	case *security.Authorization:
		return m.GetNamespace() + "/" + m.GetName()
	}
	return cache.GetResourceName(m)
}

// messages unpacks the resources.
func (r Response) messages() ([]proto.Message, error) {
	var list []proto.Message
	for _, res := range r.Resources {
		m, err := res.Body.UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", res.Name, err)
		}
		list = append(list, m)
	}
	return list, nil
}

func (r Response) world() *discovery.DiscoveryResponse {
	d := &discovery.DiscoveryResponse{TypeUrl: r.Type, VersionInfo: r.Version, Nonce: r.Nonce}
	for _, res := range r.Resources {
		d.Resources = append(d.Resources, res.Body)
	}
	return d
}

func (r Response) delta() *discovery.DeltaDiscoveryResponse {
	d := &discovery.DeltaDiscoveryResponse{TypeUrl: r.Type, SystemVersionInfo: r.Version, Nonce: r.Nonce, RemovedResources: r.Removed}
	for _, res := range r.Resources {
		d.Resources = append(d.Resources, &discovery.Resource{Name: res.Name, Version: res.Version, Resource: res.Body})
	}
	return d
}

// ParseJSON reads a response of either variant in its JSON form.
func ParseJSON(data []byte) (Response, error) {
	var d discovery.DeltaDiscoveryResponse
	if err := protojson.Unmarshal(data, &d); err == nil {
		return fromDelta(&d), nil
	}
	var w discovery.DiscoveryResponse
	if err := protojson.Unmarshal(data, &w); err != nil {
		return Response{}, fmt.Errorf("read response: %w", err)
	}
	return fromWorld(&w)
}

// parse reads a response of either variant in its binary form.
func parse(data []byte) (Response, error) {
	var d discovery.DeltaDiscoveryResponse
	if err := proto.Unmarshal(data, &d); err == nil && isDelta(&d) {
		return fromDelta(&d), nil
	}
	var w discovery.DiscoveryResponse
	if err := proto.Unmarshal(data, &w); err != nil {
		return Response{}, fmt.Errorf("read response: %w", err)
	}
	return fromWorld(&w)
}

// isDelta tells the variants apart, which the wire does not: an Any where delta has a
// resource holds no Any of the response's type.
func isDelta(d *discovery.DeltaDiscoveryResponse) bool {
	for _, r := range d.GetResources() {
		if r.GetResource().GetTypeUrl() != d.GetTypeUrl() {
			return false
		}
	}
	return true
}

func fromDelta(d *discovery.DeltaDiscoveryResponse) Response {
	r := Response{Type: d.GetTypeUrl(), Version: d.GetSystemVersionInfo(), Removed: d.GetRemovedResources()}
	for _, res := range d.GetResources() {
		r.Resources = append(r.Resources, Resource{res.GetName(), res.GetVersion(), res.GetResource()})
	}
	return r
}

func fromWorld(w *discovery.DiscoveryResponse) (Response, error) {
	r := Response{Type: w.GetTypeUrl(), Version: w.GetVersionInfo()}
	for _, body := range w.GetResources() {
		m, err := body.UnmarshalNew()
		if err != nil {
			return r, fmt.Errorf("unpack resource: %w", err)
		}
		r.Resources = append(r.Resources, Resource{Name: NameOf(m), Body: body})
	}
	return r, nil
}

// ReadCapture returns the responses of a captured control plane, in order: the binary
// files of a directory, by name.
func ReadCapture(dir string) ([]Response, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.pb"))
	if err == nil && len(files) == 0 {
		err = errors.New("no response is there")
	}
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", dir, err)
	}
	var list []Response
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		r, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// short is a type's name without its package.
func short(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }

// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// A NACK has a bounded text, which says how many it leaves out.
func TestANACKIsBounded(t *testing.T) {
	var rejected []xds.Rejection
	for i := range 1000 {
		rejected = append(rejected, xds.Rejection{Name: fmt.Sprint(i), Err: errors.New(fmt.Sprintf("Cluster c%d: endpoints[%d]: ", i, i) + strings.Repeat("ü", i) + "\n\xff")})
	}
	p := problem(2000, rejected)
	text := p.GetMessage()
	if len(text) > mostProblem || !utf8.ValidString(text) || strings.Contains(text, "\n") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	if !strings.HasPrefix(text, "1000 of 2000 resources rejected; Cluster c0: endpoints[0]: ") {
		t.Errorf("%q", text)
	}
	named := strings.Count(text, "endpoints[")
	if want := fmt.Sprintf("; and %d more", 1000-named); !strings.HasSuffix(text, want) || named < 10 {
		t.Errorf("%d are named, and the end is not %q: %q", named, want, text[len(text)-40:])
	}
	if codes.Code(p.GetCode()) != codes.InvalidArgument {
		t.Errorf("code %v", p.GetCode())
	}
	bad := &exit.Error{Code: exit.Rejected, Step: "check configuration", Object: source + ": Cluster b", Err: errors.New("name: too long"), Remedy: "shorten it"}
	if text := problem(3, []xds.Rejection{{Name: "b", Err: bad}}).GetMessage(); text != "1 of 3 resources rejected; Cluster b: name: too long; shorten it" {
		t.Errorf("%q", text)
	}
	if text := problem(3, rejected[:2]).GetMessage(); strings.Contains(text, "more") {
		t.Errorf("%q", text)
	}
}

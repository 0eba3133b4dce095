// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"fmt"
	"strings"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// mostProblem bounds the text of a NACK, in bytes.
const mostProblem = 4096

// problem is what a NACK says: each resource that was rejected and why, as far as there is
// room, and how many there are.
func problem(all int, rejected []Rejected) *statuspb.Status {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d resources rejected", len(rejected), all)
	for i, r := range rejected {
		text := clip(r.Err.Error(), mostProblem/8)
		more := fmt.Sprintf("; and %d more", len(rejected)-i)
		if b.Len()+len("; ")+len(text)+len(more) > mostProblem {
			b.WriteString(more)
			break
		}
		b.WriteString("; ")
		b.WriteString(text)
	}
	return &statuspb.Status{Code: int32(codes.InvalidArgument), Message: b.String()}
}

// shortType is the name of a type for people.
func shortType(url string) string { return xds.Clip(url[strings.LastIndexAny(url, "./")+1:]) }

// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"errors"
	"fmt"
	"strings"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/kmesh-net/kmesh-node/internal/exit"
	"github.com/kmesh-net/kmesh-node/internal/xds"
)

// mostProblem bounds the text of a NACK, in bytes.
const mostProblem = 4096

// problem is what a NACK says: each resource that was rejected and why, as far as there is
// room, and how many there are; nil where none was.
func problem(all int, rejected []xds.Rejection) *statuspb.Status {
	if len(rejected) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d resources rejected", len(rejected), all)
	for i, r := range rejected {
		text := clip(reason(r.Err), mostProblem/8)
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

// source is where a response came from, in errors.
const source = "control plane"

// reason leaves out that it is about the control plane's configuration: it is told so.
func reason(err error) string {
	var e *exit.Error
	if errors.As(err, &e) && e == err {
		bare := *e
		bare.Step = ""
		bare.Object = strings.TrimPrefix(e.Object, source+": ")
		return bare.Error()
	}
	return err.Error()
}

// shortType is the name of a type for people.
func shortType(url string) string { return xds.Clip(url[strings.LastIndexAny(url, "./")+1:]) }

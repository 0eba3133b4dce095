// SPDX-License-Identifier: Apache-2.0

package store

/*
#include <stdlib.h>
#include <string.h>
#include "core/core.pb-c.h"
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/kmesh-net/kmesh-node/internal/config"
	"github.com/kmesh-net/kmesh-node/proto/core"
	"github.com/kmesh-net/kmesh-node/proto/listener"
)

// key is a key as C takes it, in C's memory.
type key struct {
	pointer unsafe.Pointer
	ipv6    unsafe.Pointer
}

func newKey(m proto.Message) (key, error) {
	if l, ok := m.(*listener.Listener); ok {
		return newAddress(l.GetAddress())
	}
	name := config.NameOf(m)
	if strings.Contains(name, "\x00") {
		return key{}, errors.New("name: holds a zero byte")
	}
	return key{pointer: unsafe.Pointer(C.CString(name))}, nil
}

func newAddress(a *core.SocketAddress) (key, error) {
	if a == nil {
		return key{}, errors.New("address: missing")
	}
	c := (*C.Core__SocketAddress)(C.calloc(1, C.sizeof_Core__SocketAddress))
	C.core__socket_address__init(c)
	k := key{pointer: unsafe.Pointer(c)}
	c.protocol = C.Core__SocketAddress__Protocol(a.GetProtocol())
	c.port = C.uint32_t(a.GetPort())
	c.ipv4 = C.uint32_t(a.GetIpv4())
	if len(a.GetIpv6()) > 0 {
		k.ipv6 = C.CBytes(a.GetIpv6())
		c.ipv6.data = (*C.uint8_t)(k.ipv6)
		c.ipv6.len = C.size_t(len(a.GetIpv6()))
	}
	return k, nil
}

func (k key) free() {
	C.free(k.pointer)
	C.free(k.ipv6)
}

// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"fmt"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// connectRetTypedef is what BTF has of a tracepoint that is there.
const connectRetTypedef = "btf_trace_connect_ret"

// chooseVariant picks how the result of connect() is learnt, and says why. A
// patched kernel is told by its BTF, never by a failing attach.
func chooseVariant(flag, btf string) (v variant, why string, err error) {
	switch flag {
	case ConnectRetSysExit:
		return variantSysExit, "asked for: --connect-ret " + ConnectRetSysExit, nil
	case ConnectRetOff:
		return variantOff, "asked for: --connect-ret " + ConnectRetOff, nil
	case ConnectRetAuto, "":
	default:
		return "", "", &exit.Error{Code: exit.Usage, Step: "up", Object: "--connect-ret " + flag,
			Err: fmt.Errorf("no such variant"), Remedy: "use auto, sys_exit_connect or off"}
	}
	patched, err := kernelHasTypedef(btf, connectRetTypedef)
	if err != nil {
		return "", "", notReady("read BTF", btf, err, remedyBTF)
	}
	if patched {
		return variantConnectRet, "the kernel has the tracepoint connect_ret: its BTF has the typedef " + connectRetTypedef, nil
	}
	if !hasKernelBTF() {
		return variantOff, "to attach to inet_sock_set_state takes " + vmlinuxBTF + ", which is not in sight; " +
			"up --connect-ret " + ConnectRetSysExit + " does without", nil
	}
	return variantSockState, "the kernel has no tracepoint connect_ret: its BTF lacks the typedef " + connectRetTypedef, nil
}

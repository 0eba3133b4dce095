// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestEnrollTakesNoOtherPodThanTheOneNamed(t *testing.T) {
	fresh(t)
	enroll := lib + "enroll"
	must(t, node, "up")
	id := strings.Repeat("0123456789abcdef", 4)
	cgroup := "/sys/fs/cgroup/kubepods.slice/kubepods-pod1234_5678.slice/cri-containerd-" + id + ".scope"
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	enter := func(p *pod) {
		if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(p.process(t))), 0); err != nil {
			t.Fatal(err)
		}
	}
	enter(newPod(t, "pod"))
	for _, part := range []string{"container:0", "container:" + id[1:], "container:" + id[:11], "pod:34-5678", "pod:1234"} {
		try(t, enroll, part).want(t, 14, "no process")
	}
	try(t, enroll, "container:.*").want(t, 2, "not the ID")
	try(t, enroll, "container:"+id[:12]).want(t, 0, "enrolled")
	try(t, enroll, "--undo", "container:"+id[:12]).want(t, 0, "unenrolled")
	enter(newPod(t, "other"))
	try(t, enroll, "container:"+id).want(t, 2, "several network namespaces")
	if n := enrolled(t); n != 0 {
		t.Errorf("%d namespaces are enrolled", n)
	}
}

func TestSettingsMayEndWithoutALine(t *testing.T) {
	fresh(t)
	must(t, node, "up")
	write(t, defaultsFile, []byte("KMESH_NODE_ON_STOP=down"))
	must(t, lib+"stop-post")
	try(t, node, "status").want(t, 14, "not up")
}

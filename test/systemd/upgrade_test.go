// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// otherBuild is the installed binary as another release would be: its BPF objects
// have other bytes, in the part of an ELF header that nobody reads.
func otherBuild(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for at := 1; ; {
		i := bytes.Index(b[at:], []byte(elf.ELFMAG))
		if i < 0 {
			break
		}
		at += i + len(elf.ELFMAG)
		header := b[at-len(elf.ELFMAG):]
		if len(header) > 20 && header[18] == byte(elf.EM_BPF) && header[19] == 0 {
			header[15] ^= 1
			changed++
		}
	}
	if changed == 0 {
		t.Fatal("no BPF object in " + node)
	}
	return b
}

func TestUpgradeMissesNoConnection(t *testing.T) {
	fresh(t)
	p := running(t)
	before, c := links(t), p.call(t)
	programs := must(t, node, "status", "-o", "json")
	replaceBinary(t, otherBuild(t))
	must(t, "systemctl", "restart", unit)
	ready(t)
	if must(t, node, "status", "-o", "json") == programs {
		t.Error("status is as before: nothing was updated")
	}
	c.end(t)
	// Swapped, not made anew.
	sameLinks(t, before)
}

func TestUpgradeThatFailsItsSelfTestIsTakenBack(t *testing.T) {
	fresh(t)
	p := running(t)
	before, c := links(t), p.call(t)
	replaceBinary(t, otherBuild(t))
	dropIn(t, "Environment=KMESH_NODE_FAULT=selftest", "Restart=no")
	if r := try(t, "systemctl", "restart", unit); r.code == 0 {
		t.Error("the restart succeeded")
	}
	c.end(t)
	sameLinks(t, before)
}

// makePackage makes a Debian package around a binary.
func makePackage(t *testing.T, top, version string, binary []byte) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/kmesh-node", binary)
	file := dir + "/kmesh-node.deb"
	must(t, "env", "SOURCE_DATE_EPOCH=0", "DEB_COMPRESS=none", filepath.Join(top, "packaging", "deb.sh"),
		runtime.GOARCH, dir+"/kmesh-node", filepath.Join(top, "build", "share"), version, file)
	return file
}

func TestPackageIsUpgradedAndRemoved(t *testing.T) {
	fresh(t)
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	// What is removed with the package is there again for the next test.
	t.Cleanup(func() { must(t, filepath.Join(top, "scripts", "install.sh")) })
	must(t, "dpkg", "--force-confold", "-i", makePackage(t, top, "1", binary))
	p := running(t)
	before, programs, c := links(t), must(t, node, "status", "-o", "json"), p.call(t)
	must(t, "dpkg", "-i", makePackage(t, top, "2", otherBuild(t)))
	ready(t)
	c.end(t)
	sameLinks(t, before)
	if must(t, node, "status", "-o", "json") == programs {
		t.Error("status is as before: nothing was updated")
	}
	must(t, "dpkg", "--purge", "kmesh-node")
	if p.reaches(serviceIP) == nil {
		t.Error("connections are still redirected")
	}
	if s := property(t, "ActiveState"); s != "inactive" {
		t.Errorf("the unit is %s", s)
	}
	for _, path := range []string{node, lib, "/run/kmesh-node", defaultsFile} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

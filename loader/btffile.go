// SPDX-License-Identifier: Apache-2.0

package loader

/*
#include <string.h>
#include <bpf/bpf.h>

// is_vmlinux: 1 where this is the kernel's own BTF, 0 where a module's or a program's.
static int is_vmlinux(int fd)
{
	char name[16] = {};
	struct bpf_btf_info i = {.name = (__u64)(unsigned long)name, .name_len = sizeof(name)};
	__u32 size = sizeof(i);
	int rc = bpf_btf_get_info_by_fd(fd, &i, &size);

	return rc ? rc : i.kernel_btf && !strcmp(name, "vmlinux");
}
*/
import "C"

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// What programs are fitted to the kernel with is its BTF: /sys/kernel/btf/vmlinux, or
// the file of --btf where that is out of sight. To attach to a tracepoint by its BTF
// takes the former: libbpf asks the kernel for the tracepoint by its number there.

// btfPath is the file with the kernel's types.
func (c *Config) btfPath() string {
	if c.BTF != "" {
		return c.BTF
	}
	return vmlinuxBTF
}

// hasKernelBTF says whether the kernel's own file is in sight.
func hasKernelBTF() bool {
	_, err := os.Stat(vmlinuxBTF)
	return err == nil
}

// checkBTF asks for BTF that is this kernel's, as far as that can be told.
func (c *Config) checkBTF() error {
	if c.BTF == "" {
		if _, err := os.Stat(vmlinuxBTF); err != nil {
			return notReady("check host", "BTF", err, remedyBTF)
		}
		return nil
	}
	raw, err := readBTF(c.BTF)
	if err != nil {
		return notReady("read BTF", c.BTF, err, "give --btf a file with the BTF of this kernel, such as its vmlinux")
	}
	if !bytes.Contains(raw, []byte("\x00task_struct\x00")) {
		return notReady("read BTF", c.BTF, errors.New("it is not the BTF of a kernel"),
			"give --btf a file with the BTF of this kernel, such as its vmlinux")
	}
	own, err := ownBTF()
	if err != nil {
		return notReady("read BTF", "that of the kernel", err, "")
	}
	if own != nil && !bytes.Equal(own, raw) {
		return notReady("read BTF", c.BTF, errors.New("it is the BTF of another kernel"),
			"give --btf that of the kernel that runs, or leave it out where "+vmlinuxBTF+" is in sight")
	}
	return nil
}

// readBTF reads raw BTF, or the section .BTF of an ELF file.
func readBTF(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// A device may have no end.
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%w: not a file", errBadBTF))
	}
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, magic); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadBTF, err)
	}
	if string(magic) == elf.ELFMAG {
		e, err := elf.NewFile(f)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadBTF, err)
		}
		s := e.Section(".BTF")
		if s == nil {
			return nil, fmt.Errorf("%w: an ELF file without a section .BTF", errBadBTF)
		}
		return s.Data()
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if _, err := h.section(bytes.NewReader(raw), h.StrOff, h.StrLen); err != nil {
		return nil, fmt.Errorf("it is cut off: %w", err)
	}
	return raw, nil
}

// ownBTF asks the kernel for its BTF without the file; nil where it has none, or one
// before Linux 5.11 does not say which it is.
func ownBTF() ([]byte, error) {
	for id := C.__u32(0); ; {
		switch err := errno(C.bpf_btf_get_next_id(id, &id)); {
		case errors.Is(err, unix.ENOENT):
			return nil, nil
		case err != nil:
			return nil, err
		}
		fd := C.bpf_btf_get_fd_by_id(id)
		if fd < 0 {
			continue // it went in between
		}
		own := C.is_vmlinux(fd)
		if err := errors.Join(errno(own), unix.Close(int(fd))); err != nil {
			return nil, err
		}
		if own == 1 {
			return btfByID(uint32(id))
		}
	}
}

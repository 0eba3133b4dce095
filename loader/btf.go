// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const vmlinuxBTF = "/sys/kernel/btf/vmlinux"

// btfKindTypedef and the sizes below are those of <linux/btf.h>.
const (
	btfMagic       = 0xeb9f
	btfKindTypedef = 8
)

var errBadBTF = errors.New("not BTF as this build knows it")

// btfHeader is struct btf_header: offsets count from its own end.
type btfHeader struct {
	Magic            uint16
	Version, Flags   uint8
	HdrLen           uint32
	TypeOff, TypeLen uint32
	StrOff, StrLen   uint32
}

func readHeader(r io.ReaderAt) (h btfHeader, err error) {
	if err := binary.Read(io.NewSectionReader(r, 0, 24), binary.NativeEndian, &h); err != nil {
		return h, fmt.Errorf("%w: %w", errBadBTF, err)
	}
	if h.Magic != btfMagic {
		return h, errBadBTF
	}
	return h, nil
}

// section reads n bytes at off. sysfs gives a page for each read.
func (h btfHeader) section(r io.ReaderAt, off, n uint32) ([]byte, error) {
	if n > 1<<30 {
		return nil, errBadBTF
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, int64(h.HdrLen)+int64(off)); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadBTF, err)
	}
	return b, nil
}

// btfHasTypedef says whether raw BTF declares a typedef of that name. libbpf
// would index all of it, 5 MB, for this one question: the name is looked for
// among the strings first, and nearly always is not there.
func btfHasTypedef(r io.ReaderAt, name string) (bool, error) {
	h, err := readHeader(r)
	if err != nil {
		return false, err
	}
	strs, err := h.section(r, h.StrOff, h.StrLen)
	if err != nil {
		return false, err
	}
	at := bytes.Index(strs, []byte("\x00"+name+"\x00"))
	if at < 0 {
		return false, nil
	}
	types, err := h.section(r, h.TypeOff, h.TypeLen)
	if err != nil {
		return false, err
	}
	return hasTypedef(types, uint32(at)+1)
}

// hasTypedef walks the types for a typedef whose name is at that offset.
func hasTypedef(types []byte, name uint32) (bool, error) {
	bo := binary.NativeEndian
	for len(types) >= 12 {
		info := bo.Uint32(types[4:])
		kind, vlen := info>>24&0x1f, int(info&0xffff)
		if kind == btfKindTypedef && bo.Uint32(types) == name {
			return true, nil
		}
		extra, err := btfExtra(kind, vlen)
		if err != nil {
			return false, err
		}
		if len(types) < 12+extra {
			return false, errBadBTF
		}
		types = types[12+extra:]
	}
	return false, nil
}

// btfExtra is the number of bytes that follow a type's common header.
func btfExtra(kind uint32, vlen int) (int, error) {
	switch kind {
	case 2, 7, 8, 9, 10, 11, 12, 16, 18: // pointer, forward, typedef, qualifiers, function, float, type tag
		return 0, nil
	case 1, 14, 17: // integer, variable, declaration tag
		return 4, nil
	case 3: // array
		return 12, nil
	case 4, 5, 15, 19: // struct, union, section, 64-bit enum
		return 12 * vlen, nil
	case 6, 13: // enum, prototype
		return 8 * vlen, nil
	}
	return 0, fmt.Errorf("kind %d: %w", kind, errBadBTF)
}

// kernelHasTypedef asks the BTF of the kernel, in that file.
func kernelHasTypedef(path, name string) (bool, error) {
	if path != vmlinuxBTF {
		raw, err := readBTF(path) // perhaps out of an ELF file
		if err != nil {
			return false, err
		}
		return btfHasTypedef(bytes.NewReader(raw), name)
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	found, err := btfHasTypedef(f, name)
	return found, errors.Join(err, f.Close())
}

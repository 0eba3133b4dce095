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

// btfHasTypedef says whether raw BTF declares a typedef of that name. libbpf
// would index all of it for this one question.
func btfHasTypedef(raw []byte, name string) (bool, error) {
	if len(raw) < 24 {
		return false, errBadBTF
	}
	bo := binary.NativeEndian
	hdrLen, typeOff, typeLen := uint64(bo.Uint32(raw[4:])), uint64(bo.Uint32(raw[8:])), uint64(bo.Uint32(raw[12:]))
	strOff, strLen := uint64(bo.Uint32(raw[16:])), uint64(bo.Uint32(raw[20:]))
	end := uint64(len(raw))
	if bo.Uint16(raw) != btfMagic || hdrLen+typeOff+typeLen > end || hdrLen+strOff+strLen > end {
		return false, errBadBTF
	}
	types := raw[hdrLen+typeOff:][:typeLen]
	strs := raw[hdrLen+strOff:][:strLen]
	at := bytes.Index(strs, []byte("\x00"+name+"\x00"))
	if at < 0 {
		return false, nil
	}
	want := uint32(at) + 1
	for len(types) >= 12 {
		nameOff, info := bo.Uint32(types), bo.Uint32(types[4:])
		kind, vlen := info>>24&0x1f, int(info&0xffff)
		if kind == btfKindTypedef && nameOff == want {
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

// kernelHasTypedef asks the kernel's own BTF. The name is looked for in pieces
// first: the whole is 5 MB, and nearly always does not hold it.
func kernelHasTypedef(name string) (bool, error) {
	f, err := os.Open(vmlinuxBTF)
	if err != nil {
		return false, err
	}
	found, err := contains(f, "\x00"+name+"\x00")
	if err = errors.Join(err, f.Close()); err != nil || !found {
		return false, err
	}
	raw, err := os.ReadFile(vmlinuxBTF)
	if err != nil {
		return false, err
	}
	return btfHasTypedef(raw, name)
}

// contains says whether s occurs in what r gives, and fails where r gives nothing.
func contains(r io.Reader, s string) (bool, error) {
	buf := make([]byte, 256<<10)
	kept, total := 0, 0
	for {
		n, err := r.Read(buf[kept:])
		total += n
		if bytes.Contains(buf[:kept+n], []byte(s)) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			if total == 0 {
				return false, errBadBTF
			}
			return false, nil
		}
		if err != nil {
			return false, err
		}
		// The string may lie across two pieces.
		end := kept + n
		kept = min(len(s)-1, end)
		copy(buf, buf[end-kept:end])
	}
}

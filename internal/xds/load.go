// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// ErrNoFiles says that a directory holds no configuration.
var ErrNoFiles = errors.New("the directory holds no configuration")

// Load reads the documents of paths in their order. A path is a file of any name, a
// directory or Stdin. Of a directory the files count in the order of their names,
// but for hidden ones; of x.pb and x.json, one response in two forms, x.pb counts.
// Errors are *exit.Error with code Rejected.
func Load(paths []string, stdin io.Reader) ([]Document, error) {
	var docs []Document
	for _, p := range paths {
		files, err := expand(p)
		if err != nil {
			return nil, &exit.Error{Code: exit.Rejected, Step: "read configuration", Object: p, Err: err}
		}
		for _, f := range files {
			more, err := loadFile(f, stdin)
			if err != nil {
				return nil, err
			}
			docs = append(docs, more...)
		}
	}
	return docs, nil
}

func loadFile(path string, stdin io.Reader) ([]Document, error) {
	name := path
	if path == Stdin {
		name = "standard input"
	}
	data, err := readInput(path, stdin)
	if err != nil {
		return nil, &exit.Error{Code: exit.Rejected, Step: "read configuration", Object: name, Err: err}
	}
	return Parse(name, data)
}

// readInput reads one byte more than may be, for Parse to see.
func readInput(path string, stdin io.Reader) (data []byte, err error) {
	in := stdin
	if path != Stdin {
		f, err := os.Open(path)
		if err != nil {
			return nil, reason(err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() <= maxInput {
			data = make([]byte, info.Size())
			n, err := io.ReadFull(f, data)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil // it shrank
			}
			return data[:n], err
		}
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxInput+1))
}

// reason leaves out of err the path, which the message names already.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// expand returns the files that path stands for.
func expand(path string) ([]string, error) {
	if path == Stdin {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, reason(err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, reason(err)
	}
	binary := map[string]bool{}
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name(), ".pb"); ok {
			binary[stem] = true
		}
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		file := filepath.Join(path, name)
		if strings.HasPrefix(name, ".") {
			continue // what mounts and editors leave
		}
		if info, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, reason(err))
		} else if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a file; directories are not read with what is in them", name)
		}
		switch filepath.Ext(name) {
		case ".json":
			if binary[strings.TrimSuffix(name, ".json")] {
				continue
			}
		case ".pb", ".yaml", ".yml":
		default:
			return nil, fmt.Errorf("%s is no .pb, .json, .yaml or .yml file", name)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, ErrNoFiles
	}
	return files, nil
}

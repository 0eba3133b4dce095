// SPDX-License-Identifier: Apache-2.0

package xdsclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kmesh-net/kmesh-node/internal/exit"
)

const (
	mostCA    = 4 << 20
	mostToken = 64 << 10
)

// CheckFiles returns what is wrong with the files of e, *exit.Error with code NotReady. They
// are read again for each connection.
func (e *Endpoint) CheckFiles() error {
	if _, err := e.tlsConfig(); err != nil {
		return err
	}
	if e.TokenFile == "" {
		return nil
	}
	_, err := e.token()
	return err
}

func (e *Endpoint) tlsConfig() (*tls.Config, error) {
	// Without a name, gRPC takes the host of the address.
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: e.ServerName}
	if e.CA == "" {
		return cfg, nil
	}
	pem, err := readFile("--xds-ca", e.CA, mostCA)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fileError("--xds-ca", e.CA, errors.New("no certificate in PEM is in it"))
	}
	return cfg, nil
}

func (e *Endpoint) token() (string, error) {
	b, err := readFile("--xds-token-file", e.TokenFile, mostToken)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fileError("--xds-token-file", e.TokenFile, errors.New("it is empty"))
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return "", fileError("--xds-token-file", e.TokenFile, fmt.Errorf("byte %d is none of a token", i))
		}
	}
	return token, nil
}

func readFile(flag, path string, most int64) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(flag, path, errors.Unwrap(err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err = io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	if err != nil {
		return nil, fileError(flag, path, err)
	}
	return b, nil
}

func fileError(flag, path string, err error) error {
	return &exit.Error{Code: exit.NotReady, Step: "read " + flag, Object: path, Err: err, Remedy: "let it be a file that is whole and may be read"}
}

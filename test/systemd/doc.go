// SPDX-License-Identifier: Apache-2.0

// Package systemd holds the tests of the unit and of the host scripts. They run
// under a real systemd: the host's own, as the first process of namespaces of its
// own, on an overlay of the root file system into which kmesh-node is installed
// as `make install` does it. Nothing of it is seen by the host, and all of it is
// gone when the first process ends.
package systemd

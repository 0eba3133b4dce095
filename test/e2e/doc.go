// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end tests: they drive build/kmesh-node as a user
// does, with real network namespaces, listeners and connections.
//
// The test binary starts itself again in private namespaces (mount, PID, network,
// cgroup), with its own /run, bpffs and cgroup, so that nothing of a run can
// outlive it. The process outside then compares what the host had before with
// what it has now.
package e2e

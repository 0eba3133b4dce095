// SPDX-License-Identifier: Apache-2.0

package loader

func (k *BpfKmesh) openStore() error {
	if err := fault("store"); err != nil {
		return loadError("deserial_init", k.t.root(), err, "")
	}
	return nil
}

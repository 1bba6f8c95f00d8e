// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package lane

// threads does nothing: other systems decide for themselves.
func threads() {}

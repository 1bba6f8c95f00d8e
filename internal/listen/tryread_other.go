// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package listen

// canTry: connections can be read without blocking.
const canTry = false

func tryRead(uintptr, []byte) (n int, again bool, err error) { return 0, true, nil }

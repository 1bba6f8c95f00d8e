// SPDX-License-Identifier: Apache-2.0

// Package lawtest holds the laws of this code base as tests: who may import
// what, who may listen or dial, that no package has mutable state, that each
// source names its licence and each dependency its reason. docs/ARCHITECTURE.md
// says why.
package lawtest

//go:build !carry

package carried

var reference []byte

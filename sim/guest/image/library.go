package image

import (
	"path"
	"slices"
)

// libraries are those of the package libc6, which every tool of the image depends on. Others come and go with the tools.
var libraries = []string{
	"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
	"libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libutil.so.1",
}

// HasLibrary reports whether an image has a shared library, by its name or its path, whatever packages it was made of.
func HasLibrary(name string) bool { return slices.Contains(libraries, path.Base(name)) }

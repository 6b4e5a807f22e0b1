//go:build carry

package carried

import _ "embed"

// reference is the proxy's executable as ci/dist has packed it.
//
//go:embed reference.gz
var reference []byte

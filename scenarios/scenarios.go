// Package scenarios is the folder of scenarios as the program carries it: one behaviour per file, in folders by area.
package scenarios

import "embed"

// Files are the scenario files, by area.
//
//go:embed */*.yaml
var Files embed.FS
